#include "storage/lmdb/file_system.h"

#include <algorithm>
#include <array>

namespace oauthvault::storage {
namespace {

// The numbers of statfs(2). Those of linux/magic.h are not complete, so all stand here.
constexpr std::array<std::uint32_t, 13> kRemoteTypes = {
    0x00006969,  // NFS
    0x0000517b,  // SMB
    0xff534d42,  // CIFS
    0xfe534d42,  // SMB2
    0x65735546,  // FUSE
    0x01021997,  // 9P
    0x5346414f,  // AFS
    0x00c36400,  // Ceph
    0x73757245,  // Coda
    0x0bd00bd0,  // Lustre
    0x0000564c,  // NCP
    0x01161970,  // GFS2
    0x7461636f,  // OCFS2
};

}  // namespace

bool IsRemoteFileSystem(std::int64_t statfs_type) {
  // The field is signed on some machines and not on others: its low 32 bits are the number.
  const auto type = static_cast<std::uint32_t>(statfs_type);
  return std::find(kRemoteTypes.begin(), kRemoteTypes.end(), type) != kRemoteTypes.end();
}

}  // namespace oauthvault::storage
