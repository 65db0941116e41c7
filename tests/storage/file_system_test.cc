#include "storage/lmdb/file_system.h"

#include <gtest/gtest.h>
#include <linux/magic.h>

namespace oauthvault::storage {
namespace {

TEST(FileSystem, Remote_IsKnownByItsNumber) {
  for (const std::int64_t type : {std::int64_t{NFS_SUPER_MAGIC}, std::int64_t{SMB_SUPER_MAGIC},
                                  std::int64_t{V9FS_MAGIC}, std::int64_t{CEPH_SUPER_MAGIC},
                                  std::int64_t{CODA_SUPER_MAGIC}, std::int64_t{AFS_SUPER_MAGIC},
                                  std::int64_t{FUSE_SUPER_MAGIC}}) {
    EXPECT_TRUE(IsRemoteFileSystem(type)) << type;
  }
  // CIFS has its highest bit set, and comes with or without the sign.
  EXPECT_TRUE(IsRemoteFileSystem(0xff534d42));
  EXPECT_TRUE(IsRemoteFileSystem(static_cast<std::int32_t>(0xff534d42)));
}

TEST(FileSystem, Local_IsNotRemote) {
  for (const std::int64_t type :
       {std::int64_t{EXT4_SUPER_MAGIC}, std::int64_t{XFS_SUPER_MAGIC},
        std::int64_t{BTRFS_SUPER_MAGIC}, std::int64_t{TMPFS_MAGIC},
        std::int64_t{OVERLAYFS_SUPER_MAGIC}}) {
    EXPECT_FALSE(IsRemoteFileSystem(type)) << type;
  }
}

}  // namespace
}  // namespace oauthvault::storage
