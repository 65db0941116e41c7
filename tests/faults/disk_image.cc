#include "tests/faults/disk_image.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <utility>

namespace oauthvault::faults {
namespace {

constexpr std::size_t kSector = 512;
constexpr std::size_t kPage = 4096;

[[noreturn]] void Die(const char* what) {
  std::fprintf(stderr, "replay: %s\n", what);
  std::exit(3);
}

bool Chance(DiskImage::Random& random, double share) {
  return std::uniform_real_distribution<>(0, 1)(random) < share;
}

std::size_t Below(DiskImage::Random& random, std::size_t limit) {
  return limit == 0 ? 0 : std::uniform_int_distribution<std::size_t>(0, limit - 1)(random);
}

// How much of what is not durable one image keeps: nothing, all, or a part of each kind.
double Share(DiskImage::Random& random) {
  constexpr double kShares[] = {0, 0.2, 0.5, 0.8, 1};
  return kShares[Below(random, std::size(kShares))];
}

// Zeros are left out: a file that was allocated as a whole costs what stands in it.
void WriteFile(const std::filesystem::path& path, const std::string& content) {
  const int file = open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (file < 0 || ftruncate(file, static_cast<off_t>(content.size())) != 0) {
    Die("an image cannot be written");
  }
  static const std::string zeros(kPage, '\0');
  const auto size_at = [&](std::size_t at) { return std::min(kPage, content.size() - at); };
  const auto empty = [&](std::size_t at) {
    return content.compare(at, size_at(at), zeros, 0, size_at(at)) == 0;
  };
  for (std::size_t at = 0; at < content.size();) {
    if (empty(at)) {
      at += size_at(at);
      continue;
    }
    std::size_t end = at;
    while (end < content.size() && !empty(end)) end += size_at(end);
    if (pwrite(file, content.data() + at, end - at, static_cast<off_t>(at)) !=
        static_cast<ssize_t>(end - at)) {
      Die("an image cannot be filled");
    }
    at = end;
  }
  close(file);
}

}  // namespace

std::vector<Recorded> ReadRecording(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::vector<Recorded> calls;
  Record record{};
  while (file.read(reinterpret_cast<char*>(&record), sizeof record)) {
    Recorded& call = calls.emplace_back();
    call.record = record;
    call.data.resize(record.data_size);
    file.read(call.data.data(), record.data_size);
    std::string names(record.names_size, '\0');
    file.read(names.data(), record.names_size);
    if (!file) Die("the recording ends within a record");
    call.name = names.c_str();
    const std::size_t second = call.name.size() + 1;
    if (second < names.size()) call.second_name = names.c_str() + second;
  }
  if (file.gcount() != 0 || calls.empty()) Die("the recording is not whole");
  std::ranges::stable_sort(calls, {}, [](const Recorded& one) { return one.record.ended_ns; });
  return calls;
}

DiskImage::DiskImage(std::uint64_t root, DiskRules rules)
    : rules_(rules), root_(std::make_shared<Node>()) {
  root_->folder = true;
  nodes_[root] = root_;
}

std::shared_ptr<DiskImage::Node> DiskImage::At(std::uint64_t inode) const {
  const auto found = nodes_.find(inode);
  if (found == nodes_.end()) Die("the recording names a file that it did not make");
  return found->second;
}

void DiskImage::Apply(std::string& content, const Pending& change) {
  switch (change.act) {
    case Act::kWrite:
      content.resize(std::max(content.size(), change.offset + change.data.size()));
      std::ranges::copy(change.data, content.begin() + static_cast<std::ptrdiff_t>(change.offset));
      return;
    case Act::kTruncate: content.resize(change.offset); return;
    case Act::kGrow: content.resize(std::max(content.size(), change.offset)); return;
    default: Die("a change of a file is of no known kind");
  }
}

void DiskImage::Apply(Names& names, const NameChange& change) {
  switch (change.act) {
    case Act::kCreate:
    case Act::kLink: names[change.name] = change.target; return;
    case Act::kUnlink: names.erase(change.name); return;
    case Act::kRename:
      if (const auto found = names.find(change.name); found != names.end()) {
        const std::shared_ptr<Node> node = found->second;
        names.erase(found);
        names[change.second_name] = node;
      }
      return;
    default: Die("a change of a name is of no known kind");
  }
}

void DiskImage::ChangeName(const Recorded& call, const std::shared_ptr<Node>& folder,
                           NameChange change) {
  change.ended_ns = call.record.ended_ns;
  Apply(folder->names, change);
  folder->name_changes.push_back(std::move(change));
}

void DiskImage::Take(const Recorded& call) {
  const Record& record = call.record;
  const std::shared_ptr<Node> node = At(record.inode);
  switch (record.act) {
    case Act::kWrite: {
      Pending change{record.ended_ns, record.act, record.flags, record.offset, call.data};
      if ((record.flags & kAppend) != 0) node->appended = true;
      if ((record.flags & kDurableWrite) != 0 && rules_.durable_writes_count &&
          rules_.syncs_count) {
        Apply(node->durable, change);
        // What is older and still waits goes to the disk with these bytes in it.
        for (Pending& older : node->pending) {
          if (older.act != Act::kWrite) continue;
          const std::size_t from = std::max(older.offset, change.offset);
          const std::size_t to = std::min(older.offset + older.data.size(),
                                          change.offset + change.data.size());
          for (std::size_t at = from; at < to; ++at) {
            older.data[at - older.offset] = change.data[at - change.offset];
          }
        }
        return;
      }
      node->pending.push_back(std::move(change));
      return;
    }
    case Act::kTruncate:
    case Act::kGrow:
      node->pending.push_back({record.ended_ns, record.act, record.flags, record.offset, {}});
      return;
    case Act::kSync: {
      if (!rules_.syncs_count) return;
      // Only what had ended when the sync began is promised.
      const auto covered = [&](const auto& change) { return change.ended_ns <= record.began_ns; };
      for (const Pending& change : node->pending) {
        if (covered(change)) Apply(node->durable, change);
      }
      std::erase_if(node->pending, covered);
      for (const NameChange& change : node->name_changes) {
        if (covered(change)) Apply(node->durable_names, change);
      }
      std::erase_if(node->name_changes, covered);
      return;
    }
    case Act::kCreate: {
      const auto made = std::make_shared<Node>();
      made->folder = (record.flags & kFolder) != 0;
      nodes_[record.other] = made;  // an inode's number may come again
      ChangeName(call, node, {0, Act::kCreate, call.name, {}, made});
      return;
    }
    case Act::kRename: {
      if (At(record.other) != node) Die("a rename between folders is not modelled");
      ChangeName(call, node, {0, Act::kRename, call.name, call.second_name, nullptr});
      return;
    }
    case Act::kLink: {
      const auto found = node->names.find(call.name);
      if (found == node->names.end()) Die("a link to a name that the recording did not make");
      const std::shared_ptr<Node> target = found->second;
      ChangeName(call, At(record.other), {0, Act::kLink, call.second_name, {}, target});
      return;
    }
    case Act::kUnlink:
      ChangeName(call, node, {0, Act::kUnlink, call.name, {}, nullptr});
      return;
  }
  Die("a record is of no known kind");
}

std::string DiskImage::ContentOf(const Node& node, const std::vector<Pending>& pending,
                                 Random& random) const {
  std::string content = node.durable;
  if (pending.empty()) return content;
  if (node.appended && rules_.appends_are_prefixes) {
    // The calls up to one, and of that one the first bytes.
    const std::size_t whole = Below(random, pending.size() + 1);
    for (std::size_t i = 0; i < whole; ++i) Apply(content, pending[i]);
    if (whole < pending.size() && pending[whole].act == Act::kWrite) {
      Pending part = pending[whole];
      std::size_t size = Below(random, part.data.size() + 1);
      if (Chance(random, 0.5)) {  // at a sector's end
        const std::size_t over = (part.offset + size) % kSector;
        size -= std::min(size, over);
      }
      part.data.resize(size);
      Apply(content, part);
    }
    return content;
  }
  const double share = Share(random);
  const bool torn = Chance(random, 0.5);
  for (const Pending& change : pending) {
    if (!torn || change.act != Act::kWrite) {
      if (Chance(random, share)) Apply(content, change);
      continue;
    }
    for (std::size_t at = 0; at < change.data.size();) {
      const std::size_t end = std::min(change.data.size(),
                                       at + kSector - (change.offset + at) % kSector);
      if (Chance(random, share)) {
        Apply(content, {0, Act::kWrite, 0, change.offset + at, change.data.substr(at, end - at)});
      }
      at = end;
    }
  }
  return content;
}

void DiskImage::WriteFolder(const std::filesystem::path& folder, const Node& node,
                            const std::map<const Node*, std::vector<Pending>>& more,
                            const std::map<const Node*, std::vector<NameChange>>& more_names,
                            Random& random) const {
  Names names = node.durable_names;
  std::vector<NameChange> changes = node.name_changes;
  if (const auto found = more_names.find(&node); found != more_names.end()) {
    changes.insert(changes.end(), found->second.begin(), found->second.end());
  }
  const double share = Share(random);
  for (const NameChange& change : changes) {
    if (Chance(random, share)) Apply(names, change);
  }
  for (const auto& [name, child] : names) {
    if (child->folder) {
      std::filesystem::create_directory(folder / name);
      WriteFolder(folder / name, *child, more, more_names, random);
      continue;
    }
    std::vector<Pending> pending = child->pending;
    if (const auto found = more.find(child.get()); found != more.end()) {
      pending.insert(pending.end(), found->second.begin(), found->second.end());
    }
    WriteFile(folder / name, ContentOf(*child, pending, random));
  }
}

void DiskImage::WriteTo(const std::filesystem::path& folder,
                        const std::vector<const Recorded*>& under_way, Random& random) const {
  std::map<const Node*, std::vector<Pending>> more;
  std::map<const Node*, std::vector<NameChange>> more_names;
  for (const Recorded* call : under_way) {
    const Record& record = call->record;
    const auto found = nodes_.find(record.inode);
    if (found == nodes_.end()) continue;
    const Node* node = found->second.get();
    if (record.act == Act::kWrite || record.act == Act::kTruncate || record.act == Act::kGrow) {
      more[node].push_back({0, record.act, record.flags, record.offset, call->data});
    } else if (record.act == Act::kRename) {
      more_names[node].push_back({0, record.act, call->name, call->second_name, nullptr});
    } else if (record.act == Act::kUnlink) {
      more_names[node].push_back({0, record.act, call->name, {}, nullptr});
    }
  }
  WriteFolder(folder, *root_, more, more_names, random);
}

}  // namespace oauthvault::faults
