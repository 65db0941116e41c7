#include "crypto/secret.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <concepts>
#include <cstring>
#include <ostream>
#include <string>
#include <type_traits>
#include <vector>

// The linker leads the room's calls of these functions here (--wrap), so that memory can be looked
// at in the moment before it is given back, and the calls can be counted.
namespace {

// Volatile: the compiler knows what free does, and that it changes no variable of a program.
const void* volatile watched = nullptr;
volatile std::size_t watched_size = 0;
volatile bool freed = false;
volatile bool freed_clean = false;
int constant_time_comparisons = 0;
std::vector<std::pair<const void*, std::size_t>> wipes;

void Watch(const void* bytes, std::size_t size) {
  watched = bytes;
  watched_size = size;
  freed = false;
  freed_clean = false;
}

}  // namespace

extern "C" {
void __real_free(void* bytes);
int __real_sodium_memcmp(const void* a, const void* b, std::size_t size);
void __real_sodium_memzero(void* bytes, std::size_t size);

void __wrap_free(void* bytes) {
  if (bytes != nullptr && bytes == watched) {
    const auto* begin = static_cast<const unsigned char*>(bytes);
    freed = true;
    freed_clean = std::all_of(begin, begin + watched_size, [](unsigned char c) { return c == 0; });
    watched = nullptr;
  }
  __real_free(bytes);
}

int __wrap_sodium_memcmp(const void* a, const void* b, std::size_t size) {
  ++constant_time_comparisons;
  return __real_sodium_memcmp(a, b, size);
}

void __wrap_sodium_memzero(void* bytes, std::size_t size) {
  wipes.emplace_back(bytes, size);
  __real_sodium_memzero(bytes, size);
}
}

namespace oauthvault::crypto {
namespace {

constexpr std::string_view kSecret = "the quick brown fox jumps";

template <class T>
concept Printable = requires(std::ostream& out, const T& value) { out << value; };

static_assert(!std::is_copy_constructible_v<SecretBytes>);
static_assert(!std::is_copy_assignable_v<SecretBytes>);
static_assert(!std::equality_comparable<SecretBytes>);
static_assert(!Printable<SecretBytes>);
static_assert(!std::convertible_to<SecretBytes, std::string>);
static_assert(!Printable<ApiToken> && !std::equality_comparable<ApiToken>);
static_assert(!std::is_convertible_v<ApiToken, AppSecret>, "secrets of two kinds do not mix");
static_assert(!std::is_constructible_v<AppSecret, ApiToken>);

const void* AddressOf(const SecretBytes& secret) {
  return secret.Expose([](auto bytes) { return static_cast<const void*>(bytes.data()); });
}

std::string TextOf(const SecretBytes& secret) {
  return secret.Expose([](auto bytes) { return std::string(bytes.begin(), bytes.end()); });
}

TEST(SecretBytes, Destruction_WipesTheMemoryBeforeItIsFreed) {
  {
    const SecretBytes secret = SecretBytes::CopyOf(kSecret);
    Watch(AddressOf(secret), secret.Size());
  }
  EXPECT_TRUE(freed);
  EXPECT_TRUE(freed_clean);
}

TEST(SecretBytes, TheWatch_SeesMemoryThatWasNotWiped) {
  // Volatile, or an optimizer that sees no use leaves out both the allocation and its end.
  void* volatile plain = std::malloc(kSecret.size());
  std::memcpy(plain, kSecret.data(), kSecret.size());
  Watch(plain, kSecret.size());
  std::free(plain);
  EXPECT_TRUE(freed);
  EXPECT_FALSE(freed_clean);
}

TEST(SecretBytes, MoveAssignment_WipesWhatTheTargetHeldAtOnce) {
  SecretBytes target = SecretBytes::CopyOf(kSecret);
  SecretBytes source = SecretBytes::CopyOf(std::string_view("new"));
  Watch(AddressOf(target), target.Size());
  target = std::move(source);
  EXPECT_TRUE(freed);
  EXPECT_TRUE(freed_clean);
  EXPECT_EQ(TextOf(target), "new");
  EXPECT_TRUE(source.Empty());  // NOLINT(bugprone-use-after-move)
}

TEST(SecretBytes, Moving_MakesNoSecondCopy) {
  SecretBytes source = SecretBytes::CopyOf(kSecret);
  const void* address = AddressOf(source);
  const SecretBytes target(std::move(source));
  EXPECT_EQ(AddressOf(target), address);
  EXPECT_EQ(source.Size(), 0u);  // NOLINT(bugprone-use-after-move)
  EXPECT_EQ(AddressOf(source), nullptr);
}

TEST(SecretBytes, Truncate_WipesTheTailAndKeepsTheFront) {
  SecretBytes secret = SecretBytes::CopyOf(kSecret);
  // The block stays allocated as it was, so the tail may still be looked at.
  const auto whole = secret.Fill([](std::span<std::uint8_t> bytes) { return bytes; });
  secret.Truncate(3);
  EXPECT_EQ(TextOf(secret), "the");
  EXPECT_TRUE(std::ranges::all_of(whole.subspan(3), [](auto byte) { return byte == 0; }));
  secret.Truncate(10);
  EXPECT_EQ(secret.Size(), 3u);
}

TEST(SecretBytes, Destruction_WipesAlsoWhatWasTruncatedAway) {
  {
    SecretBytes secret = SecretBytes::CopyOf(kSecret);
    Watch(AddressOf(secret), secret.Size());
    secret.Truncate(0);
    EXPECT_TRUE(secret.Empty());
  }
  EXPECT_TRUE(freed);
  EXPECT_TRUE(freed_clean);
}

TEST(SecretBytes, Equals_FindsEveryDifferingBit) {
  const SecretBytes secret = SecretBytes::CopyOf(kSecret);
  EXPECT_TRUE(secret.Equals(secret.Clone()));
  for (std::size_t bit = 0; bit < kSecret.size() * 8; ++bit) {
    SecretBytes other = secret.Clone();
    other.Fill([&](auto bytes) {
      bytes[bit / 8] = static_cast<std::uint8_t>(bytes[bit / 8] ^ (1u << (bit % 8)));
    });
    EXPECT_FALSE(secret.Equals(other)) << bit;
  }
  EXPECT_FALSE(secret.Equals(SecretBytes::CopyOf(kSecret.substr(1))));
  EXPECT_FALSE(secret.Equals(SecretBytes()));
  EXPECT_TRUE(SecretBytes().Equals(SecretBytes()));
}

TEST(SecretBytes, Equals_ComparesInConstantTime) {
  const SecretBytes secret = SecretBytes::CopyOf(kSecret);
  const SecretBytes other = secret.Clone();
  const int before = constant_time_comparisons;
  EXPECT_TRUE(secret.Equals(other));
  EXPECT_EQ(constant_time_comparisons, before + 1);
}

TEST(SecretBytes, Clone_IsACopyOfItsOwn) {
  SecretBytes secret = SecretBytes::CopyOf(kSecret);
  const SecretBytes clone = secret.Clone();
  secret.Fill([](auto bytes) { std::ranges::fill(bytes, std::uint8_t{0}); });
  EXPECT_EQ(TextOf(clone), kSecret);
}

TEST(SecretBytes, ANewOne_HoldsZeros) {
  const SecretBytes secret(5);
  EXPECT_EQ(TextOf(secret), std::string(5, '\0'));
}

TEST(Wipe, OfAString_WipesItsBytesAndEmptiesIt) {
  std::string text(kSecret);
  const void* bytes = text.data();
  wipes.clear();
  Wipe(text);
  EXPECT_TRUE(text.empty());
  ASSERT_EQ(wipes.size(), 1u);
  EXPECT_EQ(wipes[0], std::pair(bytes, kSecret.size()));
}

TEST(Wipe, OfBytes_LeavesZeros) {
  std::vector<std::uint8_t> bytes(kSecret.begin(), kSecret.end());
  Wipe(bytes);
  EXPECT_EQ(bytes, std::vector<std::uint8_t>(kSecret.size()));
}

TEST(Prepare, MayBeCalledAgain) {
  EXPECT_TRUE(Prepare().has_value());
  EXPECT_TRUE(Prepare().has_value());
}

}  // namespace
}  // namespace oauthvault::crypto
