#pragma once

#include <cstdint>

namespace oauthvault::storage {

/// Whether a file system type (`f_type` of statfs(2)) keeps its files on another machine or in
/// another process, where memory maps and locks do not hold what LMDB needs of them: NFS, SMB,
/// FUSE, 9P, AFS, Ceph, Coda, Lustre, NCP, GFS2, OCFS2.
bool IsRemoteFileSystem(std::int64_t statfs_type);

}  // namespace oauthvault::storage
