#include "crypto/descriptor.h"

#include <gtest/gtest.h>

#include <array>
#include <cerrno>
#include <string>
#include <thread>

#include "tests/crypto/temporary_folder.h"

namespace oauthvault::crypto {
namespace {

using Bytes = std::array<std::uint8_t, 8>;

struct Pipe {
  Pipe() {
    int ends[2];
    EXPECT_EQ(pipe2(ends, O_CLOEXEC), 0);
    read_end = Descriptor(ends[0]);
    write_end = Descriptor(ends[1]);
  }
  Descriptor read_end;
  Descriptor write_end;
};

std::string TextOf(const Bytes& bytes, ssize_t size) {
  return {bytes.begin(), bytes.begin() + size};
}

TEST(ReadAll, GoesOnUntilTheBytesAreFull) {
  Pipe pipe;
  std::thread writer([&pipe] {
    for (const char byte : std::string("0123456789")) {
      EXPECT_EQ(write(pipe.write_end.Get(), &byte, 1), 1);
    }
  });
  Bytes bytes{};
  EXPECT_EQ(ReadAll(pipe.read_end.Get(), bytes), 8);
  EXPECT_EQ(TextOf(bytes, 8), "01234567");
  writer.join();
}

TEST(ReadAll, EndsWithTheInput) {
  Pipe pipe;
  ASSERT_EQ(write(pipe.write_end.Get(), "abc", 3), 3);
  pipe.write_end.Close();
  Bytes bytes{};
  EXPECT_EQ(ReadAll(pipe.read_end.Get(), bytes), 3);
  EXPECT_EQ(TextOf(bytes, 3), "abc");
  EXPECT_EQ(ReadAll(pipe.read_end.Get(), bytes), 0);
}

TEST(ReadAll, SaysWhyItCannotRead) {
  Bytes bytes{};
  EXPECT_EQ(ReadAll(-1, bytes), -1);
  EXPECT_EQ(errno, EBADF);
}

TEST(SyncFolder, TakesAFolderAndNothingElse) {
  const TemporaryFolder folder;
  EXPECT_TRUE(SyncFolder(folder.Path().c_str()));
  EXPECT_FALSE(SyncFolder((folder.Path() / "none").c_str()));
  EXPECT_EQ(errno, ENOENT);
  EXPECT_FALSE(SyncFolder("/dev/null"));
  EXPECT_EQ(errno, ENOTDIR);
}

}  // namespace
}  // namespace oauthvault::crypto
