#include "crypto/durable_file.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <thread>

#include "crypto/fields.h"
#include "tests/crypto/temporary_folder.h"

namespace oauthvault::crypto {
namespace {

class PlacedFile : public testing::Test {
 protected:
  ~PlacedFile() override {
    if (old_ >= 0) ::close(old_);
  }

  Result<OldContent> Place(std::string_view content, Existing existing) {
    return PlaceFile(Path(), AsBytes(content), existing);
  }
  // Holds the file that stands now, whatever becomes of its name.
  void HoldOld() {
    old_ = ::open(Path().c_str(), O_RDONLY);
    ASSERT_GE(old_, 0);
  }
  // What stands in the held file's blocks now.
  std::string OldNow() const {
    std::string content(1U << 16, '?');
    const ssize_t size = ::pread(old_, content.data(), content.size(), 0);
    content.resize(size < 0 ? 0 : static_cast<std::size_t>(size));
    return content;
  }
  std::filesystem::path Path() const { return folder_ / "file"; }

  const TemporaryFolder folder_;
  const std::string secret_ = std::string(10000, 's');
  int old_ = -1;
};

TEST_F(PlacedFile, Erase_OverwritesTheOldContentAndLeavesTheNew) {
  ASSERT_EQ(Place(secret_, Existing::kErase), OldContent::kNone);
  HoldOld();
  ASSERT_EQ(Place("new", Existing::kErase), OldContent::kErased);
  EXPECT_EQ(ContentOf(Path()), "new");
  EXPECT_EQ(OldNow(), std::string(secret_.size(), '\0'));
}

TEST_F(PlacedFile, Replace_LetsTheOldContentGo) {
  ASSERT_EQ(Place(secret_, Existing::kReplace), OldContent::kNone);
  HoldOld();
  ASSERT_EQ(Place("new", Existing::kReplace), OldContent::kLetGo);
  EXPECT_EQ(OldNow(), secret_);
}

TEST_F(PlacedFile, Erase_LeavesACopyByHardLinkAlone) {
  ASSERT_TRUE(Place(secret_, Existing::kErase).has_value());
  std::filesystem::create_hard_link(Path(), folder_ / "backup");
  ASSERT_EQ(Place("new", Existing::kErase), OldContent::kLetGo);
  EXPECT_EQ(ContentOf(folder_ / "backup"), secret_);
}

TEST_F(PlacedFile, Erase_OverwritesAlsoWhatACrashLeft) {
  WriteContent(folder_ / "file.tmp", secret_);
  const int left = ::open((folder_ / "file.tmp").c_str(), O_RDONLY);
  ASSERT_TRUE(Place("new", Existing::kErase).has_value());
  std::string content(secret_.size(), '?');
  ASSERT_EQ(::pread(left, content.data(), content.size(), 0),
            static_cast<ssize_t>(content.size()));
  ::close(left);
  EXPECT_EQ(content, std::string(secret_.size(), '\0'));
}

TEST_F(PlacedFile, Erase_LeavesWhatACrashLeftAloneWhenItHasAnotherName) {
  WriteContent(folder_ / "file.tmp", secret_);
  std::filesystem::create_hard_link(folder_ / "file.tmp", folder_ / "backup");
  ASSERT_TRUE(Place("new", Existing::kErase).has_value());
  EXPECT_EQ(ContentOf(folder_ / "backup"), secret_);
  EXPECT_FALSE(std::filesystem::exists(folder_ / "file.tmp"));
}

TEST_F(PlacedFile, Erase_ThatCannotPlaceTheNewFile_LeavesTheOldOneWhole) {
  ASSERT_TRUE(Place(secret_, Existing::kErase).has_value());
  // A folder cannot be unlinked, so the temporary file cannot be made.
  std::filesystem::create_directory(folder_ / "file.tmp");
  const auto placed = Place("new", Existing::kErase);
  ASSERT_FALSE(placed.has_value());
  EXPECT_EQ(placed.error().GetCode(), Code::kUnavailable);
  EXPECT_EQ(ContentOf(Path()), secret_);
}

TEST_F(PlacedFile, Reading_NeverSeesAnErasedFile) {
  const std::string one(50000, '1');
  const std::string two(50000, '2');
  ASSERT_TRUE(Place(one, Existing::kErase).has_value());
  std::atomic<bool> done = false;
  std::atomic<int> strange = 0;
  std::atomic<int> reads = 0;
  {
    std::vector<std::jthread> readers;
    for (int i = 0; i < 2; ++i) {
      readers.emplace_back([&] {
        while (!done) {
          const auto read = ReadFileBytes(Path(), 1U << 20, FileAccess::kOwnerOnly);
          ++reads;
          const bool whole = read && read->Expose([&](auto bytes) {
            return AsField(bytes) == one || AsField(bytes) == two;
          });
          if (!whole) ++strange;
        }
      });
    }
    for (int round = 0; round < 300 || reads < 300; ++round) {
      ASSERT_EQ(Place(round % 2 == 0 ? two : one, Existing::kErase), OldContent::kErased);
    }
    done = true;
  }
  EXPECT_EQ(strange, 0);
}

TEST_F(PlacedFile, Reading_TakesAFileWithoutAName) {
  ASSERT_TRUE(Place(secret_, Existing::kReplace).has_value());
  HoldOld();
  std::filesystem::remove(Path());
  const auto read = ReadFileBytes("/proc/self/fd/" + std::to_string(old_), 1U << 20,
                                  FileAccess::kOwnerOnly);
  ASSERT_TRUE(read.has_value());
  EXPECT_TRUE(read->Equals(SecretBytes::CopyOf(std::string_view(secret_))));
}

}  // namespace
}  // namespace oauthvault::crypto
