#include "daemon/audit/trail_file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <utility>
#include <vector>

#include "crypto/descriptor.h"
#include "crypto/sealed.h"
#include "daemon/audit/line_reader.h"

namespace oauthvault::audit {
namespace {

constexpr mode_t kOwnerOnlyMode = S_IRUSR | S_IWUSR;
// So many foreign files may be set aside at one place in the chain.
constexpr int kMaxSetAside = 100;

// What is kept allocated grows by this much at a time.
constexpr std::uint64_t kAllocationStep = 1024 * 1024;
// A line of the usual kind is shorter; longer ones take from the reserve.
constexpr std::uint64_t kUsualLineSize = 1024;
// A segment that could not be closed goes on for so long.
constexpr std::int64_t kClosePauseUs = 60'000'000;

// The trail's own lines. AUDIT.md, "Lines of the trail itself".
Entry OwnEntry(std::string_view act, std::string_view object) {
  Entry entry;
  entry.act = act;
  entry.principal = "-";
  entry.outcome = Outcome::kAllowed;
  entry.object = object;
  return entry;
}

Entry CutEntry(std::uint64_t size_bytes) {
  return OwnEntry(kCutAct, "bytes:" + std::to_string(size_bytes));
}

// How a file ends.
struct Tail {
  std::string last_line;         // without its end; empty when there is no line
  std::uint64_t good_bytes = 0;  // up to and with the end of the last line
};

// Nothing when the file cannot be read, or does not end as a trail does.
std::optional<Tail> ReadTail(int file, std::uint64_t size_bytes) {
  // The last line and what a crash can leave of one more.
  std::string window(static_cast<std::size_t>(
                         std::min<std::uint64_t>(size_bytes, 2 * (kMaxLineSize + 1))),
                     '\0');
  const std::uint64_t window_at = size_bytes - window.size();
  std::size_t filled = 0;
  while (filled < window.size()) {
    const ssize_t got = ::pread(file, window.data() + filled, window.size() - filled,
                                static_cast<off_t>(window_at + filled));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return std::nullopt;
    filled += static_cast<std::size_t>(got);
  }
  const std::size_t last_end = window.rfind('\n');
  if (last_end == std::string::npos) {
    return window_at == 0 && window.size() <= kMaxLineSize ? std::optional(Tail{}) : std::nullopt;
  }
  if (window.size() - last_end - 1 > kMaxLineSize) return std::nullopt;
  const std::size_t before = last_end == 0 ? std::string::npos : window.rfind('\n', last_end - 1);
  if (before == std::string::npos && window_at != 0) return std::nullopt;
  const std::size_t begin = before == std::string::npos ? 0 : before + 1;
  return Tail{window.substr(begin, last_end - begin), window_at + last_end + 1};
}

}  // namespace

FileCalls FileCalls::System() {
  return {
      .open = [](const char* path, int flags, mode_t mode) { return ::open(path, flags, mode); },
      .write = [](int file, const void* bytes,
                  std::size_t size_bytes) { return ::write(file, bytes, size_bytes); },
      .fdatasync = [](int file) { return ::fdatasync(file); },
      .ftruncate = [](int file, off_t size_bytes) { return ::ftruncate(file, size_bytes); },
      .fstat = [](int file, struct stat* status) { return ::fstat(file, status); },
      .fallocate = [](int file, int mode, off_t begin,
                      off_t size_bytes) { return ::fallocate(file, mode, begin, size_bytes); },
  };
}

TrailFile::TrailFile(const std::filesystem::path& folder, crypto::SecretBytes audit_key,
                     Trail::Clock clock, FileCalls calls, TrailLimits limits)
    : folder_(folder),
      path_(folder / kTrailFileName),
      audit_key_(std::move(audit_key)),
      clock_(std::move(clock)),
      calls_(std::move(calls)),
      limits_(limits),
      signer_(audit_key_) {}

Result<std::unique_ptr<TrailFile>> TrailFile::Open(const std::filesystem::path& folder,
                                                   const crypto::SecretBytes& audit_key,
                                                   Trail::Clock clock, FileCalls calls,
                                                   TrailLimits limits) {
  if (audit_key.Size() != crypto::kKeySize) {
    return Fail(Code::kInvalid, "the audit key has another size");
  }
  std::error_code ignored;
  if (!std::filesystem::is_directory(folder, ignored)) {
    return Fail(Code::kInvalid, "the audit folder is no folder", Subject::Path(folder.string()));
  }
  auto own_key = audit_key.CloneKey();
  if (!own_key) return Fail(std::move(own_key));
  std::unique_ptr<TrailFile> trail(new TrailFile(folder, *std::move(own_key), std::move(clock),
                                                 std::move(calls), limits));
  struct stat at_path {};
  if (::lstat(trail->path_.c_str(), &at_path) != 0 && errno == ENOENT) {
    auto closed = ClosedSegments(folder);
    if (!closed) return Fail(std::move(closed));
    if (!closed->empty()) {
      return Fail(Code::kCorrupt, "the newest segment of the audit trail is missing");
    }
    if (Result<void> started = trail->StartNewFile(""); !started) return Fail(std::move(started));
    return trail;
  }
  Result<std::shared_ptr<OpenFile>> file = trail->OpenLocked(trail->path_, 0);
  if (!file) return Fail(std::move(file));
  if (Result<void> found = trail->FindEnd(*std::move(file)); !found) return Fail(std::move(found));
  return trail;
}

Result<void> TrailFile::FindEnd(std::shared_ptr<OpenFile> file) {
  const std::optional<std::uint64_t> size_bytes = SizeOf(*file);
  if (!size_bytes) return Fail(Code::kUnavailable, "the audit trail has no size");
  const std::optional<Tail> tail = ReadTail(file->Number(), *size_bytes);
  if (!tail) return Fail(Code::kCorrupt, "the audit trail does not end in a line");
  end_.file = std::move(file);
  end_.size_bytes = tail->good_bytes;
  if (tail->good_bytes != 0) {
    const std::optional<Link> link = VerifyLine(audit_key_, tail->last_line);
    if (!link) return Fail(Code::kCorrupt, "the last line of the audit trail does not verify");
    const std::optional<storage::Position> head = PositionOf(tail->last_line);
    if (!head) return Fail(Code::kCorrupt, "the last line of the audit trail has no position");
    end_.sequence = link->sequence;
    end_.hash = HashLine(tail->last_line);
    end_.head = *head;
  }
  const std::uint64_t cut_bytes = *size_bytes - tail->good_bytes;
  if (cut_bytes != 0 &&
      calls_.ftruncate(end_.file->Number(), static_cast<off_t>(tail->good_bytes)) != 0) {
    return Fail(Code::kUnavailable, "the torn line of the audit trail cannot be cut off");
  }
  // Who was killed may have written lines and not synced them, or made the file and not its name.
  if (calls_.fdatasync(end_.file->Number()) != 0 || !crypto::SyncFolder(folder_.c_str())) {
    return Fail(Code::kUnavailable, "the opened audit trail cannot be synced");
  }
  if (Result<void> followed = FollowCourse(); !followed) return followed;
  if (Result<void> finished = FinishClosed(); !finished) return finished;
  std::vector<Entry> told;
  if (end_.sequence == 0) told.push_back(OwnEntry(kBeginAct, ""));
  if (cut_bytes != 0) told.push_back(CutEntry(cut_bytes));
  if (told.empty()) return {};
  if (Result<std::uint64_t> appended = Append(told); !appended) return Fail(std::move(appended));
  return {};
}

// What the lines that are there come to: the last one verifies, the others are taken as they stand.
Result<void> TrailFile::FollowCourse() {
  LineReader reader(end_.file->Number(), 0, end_.size_bytes);
  for (bool first = true;; first = false) {
    const LineReader::Found found = reader.Next();
    if (found == LineReader::Found::kUnreadable) {
      return Fail(Code::kUnavailable, "the opened audit trail cannot be read");
    }
    if (found == LineReader::Found::kEnd) break;
    if (found != LineReader::Found::kLine) continue;
    if (first) {
      end_.first_sequence = SequenceOf(reader.Text()).value_or(0);
      begun_us_ = TimeOf(reader.Text()).value_or(0);
    }
    course_.Take(reader.Text());
  }
  end_.tree = course_.Tree();
  return {};
}

// A crash may have left a segment in the making, or the closed one without its name.
Result<void> TrailFile::FinishClosed() {
  const std::filesystem::path next = folder_ / kNextFileName;
  auto left = OpenSegment({next});
  if (!left) return {};
  LineReader reader(left->file->Number(), 0, left->size_bytes);
  const bool has_line = reader.Next() == LineReader::Found::kLine;
  const std::uint64_t sequence = has_line ? SequenceOf(reader.Text()).value_or(0) : 0;
  if (sequence != 0 && sequence < end_.first_sequence) {
    if (::renameat2(AT_FDCWD, next.c_str(), AT_FDCWD, (folder_ / ClosedName(sequence)).c_str(),
                    RENAME_NOREPLACE) == 0 &&
        crypto::SyncFolder(folder_.c_str())) {
      return {};
    }
    return Fail(Code::kUnavailable, "a closed segment of the audit trail cannot get its name");
  }
  // One line at most, of which nobody was told.
  if (left->size_bytes <= kMaxLineSize + 1) {
    ::unlink(next.c_str());
    return {};
  }
  return SetAside(next);
}

Result<std::shared_ptr<OpenFile>> TrailFile::OpenLocked(const std::filesystem::path& path,
                                                        int more_flags) const {
  const int number = calls_.open(
      path.c_str(), O_RDWR | O_APPEND | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC | more_flags,
      kOwnerOnlyMode);
  if (number < 0) {
    if (errno == ELOOP || errno == EISDIR || errno == ENXIO) {
      return Fail(Code::kInvalid, "something else stands in the place of the audit trail");
    }
    return Fail(Code::kUnavailable, "the audit trail cannot be opened");
  }
  auto file = std::make_shared<OpenFile>(number);
  struct stat status {};
  if (calls_.fstat(number, &status) != 0) {
    return Fail(Code::kUnavailable, "the opened audit trail cannot be looked at");
  }
  if (!S_ISREG(status.st_mode)) {
    return Fail(Code::kInvalid, "the audit trail is not a regular file");
  }
  if (::flock(number, LOCK_EX | LOCK_NB) != 0) {
    return Fail(Code::kConflict, "another daemon writes this audit trail");
  }
  // The mode that open was given is narrowed by the umask, and an older file may have any.
  if (::fchmod(number, kOwnerOnlyMode) != 0) {
    return Fail(Code::kUnavailable, "the audit trail cannot be closed to others");
  }
  return file;
}

std::optional<std::uint64_t> TrailFile::SizeOf(const OpenFile& file) const {
  struct stat status {};
  if (calls_.fstat(file.Number(), &status) != 0) return std::nullopt;
  return static_cast<std::uint64_t>(status.st_size);
}

// Before a write this finds what was done to the file since the last one: nothing is appended to a
// file that is gone, nor behind bytes of others. After the sync it finds what was done meanwhile.
// The size shows who cut or appended, the path who deleted, moved or replaced.
bool TrailFile::StandsWith(std::uint64_t size_bytes) const {
  struct stat open_file {};
  struct stat at_path {};
  return calls_.fstat(end_.file->Number(), &open_file) == 0 &&
         static_cast<std::uint64_t>(open_file.st_size) == size_bytes &&
         ::lstat(path_.c_str(), &at_path) == 0 && open_file.st_dev == at_path.st_dev &&
         open_file.st_ino == at_path.st_ino;
}

bool TrailFile::EndsInOurLine(const OpenFile& file, std::uint64_t size_bytes) const {
  const std::optional<Tail> tail = ReadTail(file.Number(), size_bytes);
  return tail && tail->good_bytes == size_bytes && HashLine(tail->last_line) == end_.hash;
}

bool TrailFile::WriteAll(const OpenFile& file, std::string_view text) const {
  while (!text.empty()) {
    const ssize_t written = calls_.write(file.Number(), text.data(), text.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return false;
    text.remove_prefix(static_cast<std::size_t>(written));
  }
  return true;
}

// A file with its first line, durable but for its name; on an error there is none.
Result<TrailEnd> TrailFile::MakeFile(const std::filesystem::path& path, const Entry& begin) {
  Result<std::shared_ptr<OpenFile>> file = OpenLocked(path, O_CREAT | O_EXCL);
  if (!file) return Fail(std::move(file));
  const std::int64_t now_us = clock_();
  std::string line;
  AppendLine(audit_key_, begin, end_.head, end_.sequence + 1, now_us, end_.hash, line);
  if (!WriteAll(**file, line + '\n') || calls_.fdatasync((*file)->Number()) != 0 ||
      !crypto::SyncFolder(folder_.c_str())) {
    // Nothing of it was promised to anybody; the next attempt makes it again.
    ::unlink(path.c_str());
    return Fail(Code::kUnavailable, "a new audit trail cannot be begun");
  }
  begun_us_ = now_us;
  allocated_to_ = 0;
  course_.Take(line);
  return TrailEnd{*std::move(file), line.size() + 1,  end_.sequence + 1, HashLine(line),
                  end_.head,        course_.Tree(), end_.sequence + 1};
}

Result<void> TrailFile::StartNewFile(std::string_view reason) {
  Entry begin = OwnEntry(kBeginAct, reason);
  if (end_.sequence != 0) {
    // What the lost lines came to is known here, and nowhere else.
    begin.tree = course_.TreeText();
    begin.closes = course_.ClosesText();
  }
  Result<TrailEnd> made = MakeFile(path_, begin);
  if (!made) return Fail(std::move(made));
  end_ = *std::move(made);
  return {};
}

// `path` is the trail's own, or that of what was left beside it.
Result<void> TrailFile::SetAside(const std::filesystem::path& path) {
  for (int attempt = 0; attempt < kMaxSetAside; ++attempt) {
    const std::string aside = path.string() + ".aside-" + std::to_string(end_.sequence + 1) + "-" +
                              std::to_string(attempt);
    if (::renameat2(AT_FDCWD, path.c_str(), AT_FDCWD, aside.c_str(), RENAME_NOREPLACE) == 0) {
      return {};
    }
    if (errno != EEXIST) break;
  }
  return Fail(Code::kUnavailable, "a foreign audit trail cannot be set aside");
}

Result<void> TrailFile::WriteCheckpoint() const {
  const std::filesystem::path path = folder_ / CheckpointName(end_.first_sequence);
  const std::filesystem::path temporary = path.string() + ".new";
  const int number =
      calls_.open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC,
                  kOwnerOnlyMode);
  if (number < 0) return Fail(Code::kUnavailable, "a checkpoint cannot be begun");
  const OpenFile file(number);
  if (!WriteAll(file, signer_.Sign(course_.Tree())) || calls_.fdatasync(number) != 0 ||
      ::rename(temporary.c_str(), path.c_str()) != 0 || !crypto::SyncFolder(folder_.c_str())) {
    ::unlink(temporary.c_str());
    return Fail(Code::kUnavailable, "a checkpoint cannot be written");
  }
  return {};
}

bool TrailFile::IsDue() const {
  const std::int64_t now_us = clock_();
  // The first line alone is nothing to close.
  if (end_.sequence <= end_.first_sequence || now_us < not_due_until_us_) return false;
  return end_.size_bytes >= limits_.size_bytes || now_us - begun_us_ >= limits_.age.count();
}

// The names are exchanged, so that there is an open segment at every moment: one that is missing at
// a start was taken away.
Result<void> TrailFile::CloseSegment() {
  not_due_until_us_ = clock_() + kClosePauseUs;
  if (Result<void> finished = FinishClosed(); !finished) return finished;
  Entry close = OwnEntry(kCloseAct, "");
  close.closes = course_.ClosesText();
  if (Result<std::uint64_t> closed = Append(std::span(&close, 1)); !closed) {
    return Fail(std::move(closed));
  }
  if (Result<void> written = WriteCheckpoint(); !written) return written;
  const std::filesystem::path next = folder_ / kNextFileName;
  Entry begin = OwnEntry(kBeginAct, kNextSegment);
  begin.tree = course_.TreeText();
  const Course course = course_;
  const std::int64_t begun_us = begun_us_;
  Result<TrailEnd> made = MakeFile(next, begin);
  if (!made) return Fail(std::move(made));
  if (!end_.file->StandsAt(path_) || ::renameat2(AT_FDCWD, next.c_str(), AT_FDCWD, path_.c_str(),
                                                 RENAME_EXCHANGE) != 0) {
    ::unlink(next.c_str());
    course_ = course;
    begun_us_ = begun_us;
    return Fail(Code::kUnavailable, "the segments of the audit trail cannot change places");
  }
  const TrailEnd old = std::exchange(end_, *std::move(made));
  not_due_until_us_ = 0;
  // What was kept allocated behind its end is given back.
  (void)calls_.ftruncate(old.file->Number(), static_cast<off_t>(old.size_bytes));
  if (::renameat2(AT_FDCWD, next.c_str(), AT_FDCWD,
                  (folder_ / ClosedName(old.first_sequence)).c_str(), RENAME_NOREPLACE) != 0 ||
      !crypto::SyncFolder(folder_.c_str())) {
    // Readers find it under this name, too, and the next start gives it its own.
    return Fail(Code::kUnavailable, "the closed segment of the audit trail has no name yet");
  }
  return {};
}

Room TrailFile::MakeRoom(std::size_t lines) {
  const std::uint64_t lines_end = end_.size_bytes + lines * kUsualLineSize;
  struct Wanted {
    Room room;
    std::uint64_t reserves;
  };
  for (const Wanted& wanted : {Wanted{Room::kAll, 2}, Wanted{Room::kAllowed, 1}}) {
    const std::uint64_t to = lines_end + wanted.reserves * kReserveBytes;
    if (allocated_to_ >= to) return wanted.room;
    const std::uint64_t begin = std::max(allocated_to_, end_.size_bytes);
    // Farther than it must be, so that it is rarely asked for; no farther on a disk that is nearly
    // full.
    for (const std::uint64_t end : {to + kAllocationStep, to}) {
      if (calls_.fallocate(end_.file->Number(), FALLOC_FL_KEEP_SIZE, static_cast<off_t>(begin),
                           static_cast<off_t>(end - begin)) == 0) {
        allocated_to_ = end;
        return wanted.room;
      }
      if (errno != ENOSPC && errno != EDQUOT) return Room::kAll;
    }
  }
  return Room::kNone;
}

// A file that was moved to the path has its content on the disk, but perhaps not its name.
Result<void> TrailFile::SyncName() const {
  if (crypto::SyncFolder(folder_.c_str())) return {};
  return Fail(Code::kUnavailable, "the folder of the audit trail cannot be synced");
}

// Nothing is destroyed here that this daemon did not write itself a moment ago.
Result<void> TrailFile::Repair() {
  struct stat at_path {};
  if (::lstat(path_.c_str(), &at_path) != 0) {
    if (errno != ENOENT) {
      return Fail(Code::kUnavailable, "the path of the audit trail cannot be looked at");
    }
    return StartNewFile("file-lost");
  }
  if (end_.file->StandsAt(path_)) {
    const std::optional<std::uint64_t> size_bytes = SizeOf(*end_.file);
    if (!size_bytes) return Fail(Code::kUnavailable, "the audit trail under repair has no size");
    if (*size_bytes > end_.size_bytes) {
      allocated_to_ = 0;
      if (calls_.ftruncate(end_.file->Number(), static_cast<off_t>(end_.size_bytes)) != 0) {
        return Fail(Code::kUnavailable, "the end of the audit trail cannot be cut off");
      }
      if (!tail_is_ours_) cut_bytes_ += *size_bytes - end_.size_bytes;
    }
    if (EndsInOurLine(*end_.file, end_.size_bytes)) return SyncName();
    if (Result<void> aside = SetAside(path_); !aside) return aside;
    return StartNewFile("file-damaged");
  }
  Result<std::shared_ptr<OpenFile>> other = OpenLocked(path_, 0);
  if (!other && other.error().GetCode() == Code::kConflict) {
    return Fail(Code::kUnavailable, "another daemon writes at the path of the audit trail");
  }
  if (!other && other.error().GetCode() != Code::kInvalid) return Fail(std::move(other));
  if (other) {
    const std::optional<std::uint64_t> size_bytes = SizeOf(**other);
    if (!size_bytes) return Fail(Code::kUnavailable, "the other audit trail has no size");
    // A faithful copy, or the file itself put back: the chain goes on in it.
    if (EndsInOurLine(**other, *size_bytes)) {
      allocated_to_ = 0;
      end_.file = *std::move(other);
      end_.size_bytes = *size_bytes;
      return SyncName();
    }
  }
  if (Result<void> aside = SetAside(path_); !aside) return aside;
  return StartNewFile("file-replaced");
}

// Cuts off what the failed append wrote. Whether that works is seen by the repair before the next.
Result<void> TrailFile::Refuse(Text text) {
  repair_needed_ = tail_is_ours_ = true;
  allocated_to_ = 0;
  if (calls_.ftruncate(end_.file->Number(), static_cast<off_t>(end_.size_bytes)) != 0) {
    return Fail(Code::kUnavailable, "the audit line cannot be written nor cut off again");
  }
  return Fail(Code::kUnavailable, text);
}

Result<std::uint64_t> TrailFile::Append(std::span<const Entry> entries) {
  if (repair_needed_) {
    if (Result<void> repaired = Repair(); !repaired) return Fail(std::move(repaired));
    repair_needed_ = tail_is_ours_ = false;
  }
  if (!StandsWith(end_.size_bytes)) {
    repair_needed_ = true;
    return Fail(Code::kUnavailable, "the audit trail was deleted, replaced or changed");
  }
  // The lines, each with its end.
  std::string text;
  text.reserve(entries.size() * kUsualLineSize);
  const std::int64_t now_us = clock_();
  std::uint64_t sequence = end_.sequence;
  HashDigits hash = end_.hash;
  storage::Position head = end_.head;
  const auto add = [&](const Entry& entry) {
    if (entry.position) head = *entry.position;
    const std::size_t begin = text.size();
    AppendLine(audit_key_, entry, head, ++sequence, now_us, hash, text);
    hash = HashLine(std::string_view(text).substr(begin));
    text.push_back('\n');
  };
  if (cut_bytes_ != 0) add(CutEntry(cut_bytes_));
  const std::uint64_t first = sequence + 1;
  for (const Entry& entry : entries) add(entry);

  const std::uint64_t size_bytes = end_.size_bytes + text.size();
  Result<void> appended;
  if (!WriteAll(*end_.file, text)) {
    appended = Refuse("the audit line cannot be written");
  } else if (calls_.fdatasync(end_.file->Number()) != 0) {
    appended = Refuse("the audit line cannot be synced");
  } else if (!StandsWith(size_bytes)) {
    // Durable, but nowhere that anybody would look.
    appended = Refuse("the audit trail changed under the line");
  }
  if (!appended) return Fail(std::move(appended));
  cut_bytes_ = 0;
  end_.size_bytes = size_bytes;
  end_.sequence = sequence;
  end_.hash = hash;
  end_.head = head;
  if (end_.first_sequence == 0) {
    end_.first_sequence = 1;
    begun_us_ = now_us;
  }
  for (std::string_view rest = text; !rest.empty();) {
    const std::string_view line = rest.substr(0, rest.find('\n'));
    course_.Take(line);
    rest.remove_prefix(line.size() + 1);
  }
  end_.tree = course_.Tree();
  return first;
}

}  // namespace oauthvault::audit
