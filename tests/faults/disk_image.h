#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "tests/faults/recording.h"

namespace oauthvault::faults {

/// A record with its data and names.
struct Recorded {
  Record record;
  std::string data;
  std::string name;
  std::string second_name;
};

/// Reads a recording, in order of the calls' ends. Ends the process when it is not whole.
std::vector<Recorded> ReadRecording(const std::filesystem::path& path);

/// What the disk is taken to do.
struct DiskRules {
  bool syncs_count = true;           ///< false: as if no call had synced anything
  bool durable_writes_count = true;  ///< false: as if O_DSYNC had not been given
  /// A file that was only appended to survives as a prefix: the file system orders data before
  /// sizes. False: what was appended and not synced may leave holes.
  bool appends_are_prefixes = true;
};

/// The files below one folder as a disk holds them: what is durable, and what a power loss may or
/// may not leave of the rest. Time goes forward only. Threads: one.
class DiskImage {
 public:
  using Random = std::mt19937_64;

  /// `root`: the inode of the folder, which is empty and durable.
  DiskImage(std::uint64_t root, DiskRules rules);

  /// The next call that ended.
  void Take(const Recorded& call);

  /// Writes into `folder` (empty, existing) what a disk may hold now: all that is durable, and of
  /// the rest, and of `under_way` (calls that have not ended), a random part: whole, not at all, or
  /// torn at 512 bytes.
  void WriteTo(const std::filesystem::path& folder, const std::vector<const Recorded*>& under_way,
               Random& random) const;

 private:
  struct Pending {
    std::uint64_t ended_ns;
    Act act;
    std::uint8_t flags;
    std::uint64_t offset;
    std::string data;
  };
  struct Node;
  struct NameChange {
    std::uint64_t ended_ns;
    Act act;  // kCreate, kLink, kUnlink, kRename
    std::string name;
    std::string second_name;      // of a rename within one folder
    std::shared_ptr<Node> target; // of a create or link
  };
  using Names = std::map<std::string, std::shared_ptr<Node>>;
  struct Node {
    bool folder = false;
    bool appended = false;
    std::string durable;
    std::vector<Pending> pending;
    Names names;      // as the process sees them
    Names durable_names;
    std::vector<NameChange> name_changes;
  };

  std::shared_ptr<Node> At(std::uint64_t inode) const;
  static void Apply(std::string& content, const Pending& change);
  static void Apply(Names& names, const NameChange& change);
  std::string ContentOf(const Node& node, const std::vector<Pending>& pending,
                        Random& random) const;
  void WriteFolder(const std::filesystem::path& folder, const Node& node,
                   const std::map<const Node*, std::vector<Pending>>& more,
                   const std::map<const Node*, std::vector<NameChange>>& more_names,
                   Random& random) const;
  void ChangeName(const Recorded& call, const std::shared_ptr<Node>& folder, NameChange change);

  DiskRules rules_;
  std::shared_ptr<Node> root_;
  std::map<std::uint64_t, std::shared_ptr<Node>> nodes_;
};

}  // namespace oauthvault::faults
