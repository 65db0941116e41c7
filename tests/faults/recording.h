#pragma once

#include <cstdint>

namespace oauthvault::faults {

/// What a record of the recorder tells of.
enum class Act : std::uint8_t {
  kWrite = 1,     ///< `data` at `offset` of file `inode`
  kSync = 2,      ///< of file or folder `inode`
  kTruncate = 3,  ///< file `inode` to `offset` bytes
  kGrow = 4,      ///< file `inode` to at least `offset` bytes, zeros
  kCreate = 5,    ///< name in folder `inode` for the new file `other`
  kRename = 6,    ///< name in folder `inode` to the second name in folder `other`
  kLink = 7,      ///< the same, and the first name stays
  kUnlink = 8,    ///< name in folder `inode`
};

inline constexpr std::uint8_t kDurableWrite = 1;  ///< through a descriptor opened with O_DSYNC
inline constexpr std::uint8_t kAppend = 2;        ///< through one opened with O_APPEND
inline constexpr std::uint8_t kFolder = 4;        ///< what was created is a folder

/// One call that succeeded, as the recorder writes it; `data_size` bytes of data and `names_size`
/// bytes of names (each ended by a zero) follow. Times are of CLOCK_MONOTONIC, before and after the
/// call. Same machine only.
struct Record {
  std::uint64_t began_ns;
  std::uint64_t ended_ns;
  std::uint64_t inode;
  std::uint64_t other;
  std::uint64_t offset;
  std::uint32_t data_size;
  std::uint32_t names_size;
  Act act;
  std::uint8_t flags;
  std::uint8_t unused[6];
};
static_assert(sizeof(Record) == 56);

}  // namespace oauthvault::faults
