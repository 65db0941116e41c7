#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace oauthvault::faults {

/// One call of the client that wrote while the recording was made. Times as in recording.h.
struct ClientCall {
  std::uint64_t began_ns = 0;
  std::uint64_t answered_ns = 0;  ///< 0: never
  /// init, project, store, delete, reveal
  std::string kind;
  std::string id;            ///< of the credentials, or of the project
  std::uint64_t number = 0;  ///< of the write: with id and size it gives the value
  std::size_t size_bytes = 0;
};

/// Reads the client's calls, one a line, in order of their beginnings.
std::vector<ClientCall> ReadCalls(const std::filesystem::path& path);

/// The value that `number`th write of `id` stored; vault.py makes the same.
std::string ValueOf(const std::string& id, std::uint64_t number, std::size_t size_bytes);

/// Opens the vault in `folder` as a daemon would after a power loss at `moment_ns`, and compares it
/// with what its client was promised by then. Nothing: it holds. Else what does not, and first the
/// word LOST (an acknowledged write, or its audit line) or DAMAGED (it does not open). Leaves
/// threads and locks behind: for a process of its own.
std::optional<std::string> Violation(const std::filesystem::path& folder,
                                     const std::vector<ClientCall>& calls,
                                     std::uint64_t moment_ns, std::uint64_t map_size_bytes);

}  // namespace oauthvault::faults
