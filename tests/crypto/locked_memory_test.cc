#include "crypto/locked_memory.h"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <fstream>
#include <iterator>
#include <set>
#include <sstream>
#include <thread>

#include "crypto/keyring.h"
#include "tests/crypto/temporary_folder.h"

// The linker leads the room's calls of mlock here (--wrap), so that a test can refuse them as the
// system does at RLIMIT_MEMLOCK. The call itself is made directly: the address sanitizer's mlock
// does nothing.
namespace {
bool refuse_locking = false;
int lockings = 0;
}  // namespace

extern "C" int __wrap_mlock(const void* begin, std::size_t size) {
  ++lockings;
  if (refuse_locking) {
    errno = ENOMEM;
    return -1;
  }
  return static_cast<int>(::syscall(SYS_mlock, begin, size));
}

namespace oauthvault::crypto {
namespace {

constexpr std::size_t kSlotsInChunk = LockedMemory::kChunkSize / LockedMemory::kSlotSize;

bool IsZero(std::span<const std::uint8_t> bytes) {
  return std::ranges::all_of(bytes, [](std::uint8_t byte) { return byte == 0; });
}

// The kernel's flags of the mapping that an address lies in, each of two letters.
std::set<std::string> FlagsOf(const void* address) {
  std::ifstream maps("/proc/self/smaps");
  const auto wanted = reinterpret_cast<std::uintptr_t>(address);
  bool inside = false;
  for (std::string line; std::getline(maps, line);) {
    std::uintptr_t begin = 0;
    std::uintptr_t end = 0;
    char dash = 0;
    std::istringstream in(line);
    if (in >> std::hex >> begin >> dash >> end && dash == '-') {
      inside = begin <= wanted && wanted < end;
    } else if (inside && line.starts_with("VmFlags:")) {
      std::istringstream flags(line.substr(8));
      return {std::istream_iterator<std::string>(flags), {}};
    }
  }
  return {};
}

const void* AddressOf(const SecretBytes& secret) {
  return secret.Expose([](auto bytes) { return static_cast<const void*>(bytes.data()); });
}

bool IsLocked(const SecretBytes& secret) { return FlagsOf(AddressOf(secret)).contains("lo"); }

class LockedMemoryTest : public testing::Test {
 protected:
  LockedMemoryTest() {
    refuse_locking = false;
    lockings = 0;
  }
  ~LockedMemoryTest() override { refuse_locking = false; }
};

TEST_F(LockedMemoryTest, AChunk_IsLockedInNoCoreFileAndWipedOnFork) {
  LockedMemory memory(Unlocked::kRefuse);
  EXPECT_FALSE(memory.AllLocked());
  ASSERT_TRUE(memory.Prepare(Unlocked::kRefuse).has_value());
  EXPECT_TRUE(memory.AllLocked());
  std::uint8_t* const slot = *memory.Take();
  const std::set<std::string> flags = FlagsOf(slot);
  EXPECT_TRUE(flags.contains("lo"));
  EXPECT_TRUE(flags.contains("dd"));
  EXPECT_TRUE(flags.contains("wf"));
  memory.GiveBack(slot);
}

TEST_F(LockedMemoryTest, AForkedChild_SeesZeros) {
  LockedMemory memory(Unlocked::kRefuse);
  std::uint8_t* const slot = *memory.Take();
  std::fill_n(slot, LockedMemory::kSlotSize, std::uint8_t{0xAA});
  const pid_t child = ::fork();
  if (child == 0) ::_exit(IsZero({slot, LockedMemory::kSlotSize}) ? 0 : 1);
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 0);
  EXPECT_EQ(*slot, 0xAA);
  memory.GiveBack(slot);
}

TEST_F(LockedMemoryTest, ASlot_IsZeroWhenItIsTakenAndWhenItWasGivenBack) {
  LockedMemory memory(Unlocked::kRefuse);
  std::uint8_t* const slot = *memory.Take();
  EXPECT_TRUE(IsZero({slot, LockedMemory::kSlotSize}));
  std::fill_n(slot, LockedMemory::kSlotSize, std::uint8_t{0xAA});
  memory.GiveBack(slot);
  EXPECT_TRUE(IsZero({slot, LockedMemory::kSlotSize}));
  EXPECT_EQ(*memory.Take(), slot);
}

TEST_F(LockedMemoryTest, Take_GrowsChunkByChunkAndGivesNoSlotTwice) {
  LockedMemory memory(Unlocked::kRefuse);
  std::set<std::uint8_t*> slots;
  for (std::size_t i = 0; i < 2 * kSlotsInChunk + 1; ++i) slots.insert(*memory.Take());
  EXPECT_EQ(slots.size(), 2 * kSlotsInChunk + 1);
  EXPECT_EQ(lockings, 3);
  const auto distance = [](std::uint8_t* a, std::uint8_t* b) {
    return reinterpret_cast<std::uintptr_t>(b) - reinterpret_cast<std::uintptr_t>(a);
  };
  for (auto slot = slots.begin(); std::next(slot) != slots.end(); ++slot) {
    ASSERT_GE(distance(*slot, *std::next(slot)), LockedMemory::kSlotSize);
  }
  for (std::uint8_t* slot : slots) memory.GiveBack(slot);
  for (std::size_t i = 0; i < slots.size(); ++i) (void)*memory.Take();
  EXPECT_EQ(lockings, 3);
}

TEST_F(LockedMemoryTest, PrepareUnderRefuse_FailsWhenLockingDoes) {
  LockedMemory memory(Unlocked::kAllow);
  refuse_locking = true;
  const auto prepared = memory.Prepare(Unlocked::kRefuse);
  ASSERT_FALSE(prepared.has_value());
  EXPECT_EQ(prepared.error().GetCode(), Code::kUnavailable);
  EXPECT_FALSE(memory.AllLocked());
  refuse_locking = false;
  EXPECT_TRUE(memory.Prepare(Unlocked::kRefuse).has_value());
  EXPECT_TRUE(memory.AllLocked());
}

TEST_F(LockedMemoryTest, UnderAllow_KeysLieUnlockedAndTheStatusSaysSo) {
  LockedMemory memory(Unlocked::kRefuse);
  refuse_locking = true;
  ASSERT_TRUE(memory.Prepare(Unlocked::kAllow).has_value());
  EXPECT_TRUE(memory.Take().has_value());
  EXPECT_FALSE(memory.AllLocked());
  // Keys that lie unlocked already cannot be promised to be locked.
  refuse_locking = false;
  EXPECT_FALSE(memory.Prepare(Unlocked::kRefuse).has_value());
}

TEST_F(LockedMemoryTest, ALaterChunkThatCannotBeLocked_IsExhaustedAndLeavesTheRestUsable) {
  LockedMemory memory(Unlocked::kRefuse);
  std::vector<std::uint8_t*> slots;
  for (std::size_t i = 0; i < kSlotsInChunk; ++i) slots.push_back(*memory.Take());
  refuse_locking = true;
  const auto further = memory.Take();
  ASSERT_FALSE(further.has_value());
  EXPECT_EQ(further.error().GetCode(), Code::kExhausted);
  EXPECT_TRUE(memory.AllLocked());
  memory.GiveBack(slots.back());
  EXPECT_TRUE(memory.Take().has_value());
  refuse_locking = false;
  EXPECT_TRUE(memory.Take().has_value());
}

TEST_F(LockedMemoryTest, Threads_NeverShareASlot) {
  LockedMemory memory(Unlocked::kRefuse);
  std::atomic<int> failures = 0;
  {
    std::vector<std::jthread> threads;
    for (std::uint8_t mark = 1; mark <= 4; ++mark) {
      threads.emplace_back([&, mark] {
        for (int round = 0; round < 500; ++round) {
          std::array<std::uint8_t*, 8> slots{};
          for (auto& slot : slots) {
            slot = *memory.Take();
            if (!IsZero({slot, LockedMemory::kSlotSize})) ++failures;
            std::fill_n(slot, LockedMemory::kSlotSize, mark);
          }
          for (auto* slot : slots) {
            const std::span bytes(slot, LockedMemory::kSlotSize);
            if (std::ranges::any_of(bytes, [&](auto byte) { return byte != mark; })) ++failures;
            memory.GiveBack(slot);
          }
        }
      });
    }
  }
  EXPECT_EQ(failures, 0);
}

TEST_F(LockedMemoryTest, AKey_IsZeroLockedAndWipedAtItsEnd) {
  std::span<const std::uint8_t> place;
  {
    SecretBytes key = *SecretBytes::Key();
    EXPECT_EQ(key.Size(), 32u);
    EXPECT_TRUE(IsLocked(key));
    key.Fill([&](std::span<std::uint8_t> bytes) {
      EXPECT_TRUE(IsZero(bytes));
      std::ranges::fill(bytes, std::uint8_t{0xAA});
      place = bytes;
    });
    key.Truncate(16);
    EXPECT_TRUE(IsZero(place.subspan(16)));
  }
  // The slot stays mapped.
  EXPECT_TRUE(IsZero(place));
}

TEST_F(LockedMemoryTest, AKey_MovesWithoutACopyAndSwapsWithTheHeap) {
  SecretBytes key = *SecretBytes::Key();
  const void* const address = AddressOf(key);
  SecretBytes moved(std::move(key));
  EXPECT_EQ(AddressOf(moved), address);
  EXPECT_TRUE(key.Empty());  // NOLINT(bugprone-use-after-move)
  SecretBytes other(7);
  other = std::move(moved);
  EXPECT_EQ(AddressOf(other), address);
  EXPECT_TRUE(IsLocked(other));
  other = SecretBytes(7);
  EXPECT_FALSE(IsLocked(other));
  // The slot came back.
  EXPECT_EQ(AddressOf(*SecretBytes::Key()), address);
}

TEST_F(LockedMemoryTest, CopiesOfAKey_LieWhereTheySay) {
  SecretBytes key = *SecretBytes::Key();
  key.Fill([](auto bytes) { std::ranges::fill(bytes, std::uint8_t{0xAA}); });
  const SecretBytes locked = *key.CloneKey();
  const SecretBytes plain = key.Clone();
  EXPECT_TRUE(locked.Equals(key));
  EXPECT_TRUE(plain.Equals(key));
  EXPECT_TRUE(IsLocked(locked));
  EXPECT_FALSE(IsLocked(plain));
  EXPECT_NE(AddressOf(locked), AddressOf(key));
}

class LockedVault : public LockedMemoryTest {
 protected:
  // Leaves the process's memory with `left` free slots, and refuses to lock more.
  void LeaveFree(std::size_t left) {
    ASSERT_TRUE(PrepareLockedMemory(Unlocked::kRefuse).has_value());
    refuse_locking = true;
    while (auto key = SecretBytes::Key()) taken_.push_back(std::move(*key));
    ASSERT_GE(taken_.size(), left);
    taken_.resize(taken_.size() - left);
  }

  const TemporaryFolder folder_;
  const SlotSecret secret_ = NewSlotSecret();
  std::vector<SecretBytes> taken_;
};

TEST_F(LockedVault, ItsLongLivedKeys_AreLocked) {
  const auto keyring = Keyring::Create(folder_ / "keys", secret_, "main");
  ASSERT_TRUE(keyring.has_value());
  EXPECT_TRUE(IsLocked((*keyring)->AuditKey()));
  EXPECT_TRUE(IsLocked((*keyring)->FingerprintKey()));
  EXPECT_TRUE(IsLocked((*keyring)->RootForChild()->Bytes()));
  ASSERT_TRUE(WriteKeyFile(folder_ / "key", secret_).has_value());
  EXPECT_TRUE(IsLocked(ReadKeyFile(folder_ / "key")->Bytes()));
  EXPECT_TRUE(KeysAreLocked());
}

TEST_F(LockedVault, WithoutLockedMemory_IsNeitherMadeNorOpenedNorGrown) {
  const auto keyring = Keyring::Create(folder_ / "keys", secret_, "main");
  ASSERT_TRUE(keyring.has_value());
  const std::string content = ContentOf(folder_ / "keys");
  LeaveFree(0);
  const auto made = (*keyring)->EnsureKek(Owner::Project("acme"));
  ASSERT_FALSE(made.has_value());
  EXPECT_EQ(made.error().GetCode(), Code::kExhausted);
  EXPECT_FALSE((*keyring)->HasKek(Owner::Project("acme")));
  EXPECT_EQ((*keyring)->RotateKek(Owner::Vault()).error().GetCode(), Code::kExhausted);
  EXPECT_EQ((*keyring)->RotateRoot().error().GetCode(), Code::kExhausted);
  EXPECT_EQ((*keyring)->RootForChild().error().GetCode(), Code::kExhausted);
  EXPECT_EQ(ContentOf(folder_ / "keys"), content);
  // One slot short of what a vault has: the root, four named keys, one KEK.
  for (std::size_t left = 0; left < 6; ++left) {
    LeaveFree(left);
    const auto opened = Keyring::Unlock(folder_ / "keys", secret_);
    ASSERT_FALSE(opened.has_value()) << left;
    EXPECT_EQ(opened.error().GetCode(), Code::kExhausted) << left;
    const auto created = Keyring::Create(folder_ / "other", secret_, "main");
    ASSERT_FALSE(created.has_value()) << left;
    EXPECT_EQ(created.error().GetCode(), Code::kExhausted) << left;
    EXPECT_FALSE(std::filesystem::exists(folder_ / "other")) << left;
  }
  LeaveFree(6);
  EXPECT_TRUE(Keyring::Unlock(folder_ / "keys", secret_).has_value());
}

}  // namespace
}  // namespace oauthvault::crypto
