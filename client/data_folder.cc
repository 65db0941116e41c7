#include "client/data_folder.h"

#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <system_error>

namespace oauthvault::client {
namespace {

namespace fs = std::filesystem;

std::string Variable(const char* name) {
  const char* value = std::getenv(name);  // NOLINT(concurrency-mt-unsafe): nobody sets it
  return value == nullptr ? std::string() : value;
}

bool IsWritableFolder(const fs::path& path) {
  std::error_code ignored;
  return path.is_absolute() && fs::is_directory(path, ignored) &&
         ::access(path.c_str(), W_OK | X_OK) == 0;
}

/// What makes one side of the exchange: a link to what stands beside the source, or empty folders.
std::error_code MakeSide(const fs::path& side, const fs::path& beside,
                         std::initializer_list<const char*> parts) {
  std::error_code error;
  if (!beside.empty() && fs::is_directory(beside, error)) {
    const fs::path target = fs::canonical(beside, error);
    if (!error) fs::create_directory_symlink(target, side, error);
    return error;
  }
  for (const char* part : parts) {
    fs::create_directories(side / part, error);
    if (error) return error;
  }
  return error;
}

}  // namespace

fs::path PlaceForDataFolders() {
  for (const std::string& place :
       {Variable("XDG_RUNTIME_DIR"), std::string("/dev/shm"), Variable("TMPDIR")}) {
    if (IsWritableFolder(place)) return place;
  }
  return "/tmp";
}

Outcome<fs::path> MakeDataFolder(const fs::path& place, const fs::path& source) {
  std::string name = (place / "oauthvault-run.XXXXXX").string();
  if (::mkdtemp(name.data()) == nullptr) {  // mode 0700
    return Refuse(Code::kInvalid, "cannot make a data folder in " + place.string() + ": " +
                                      std::strerror(errno));
  }
  const fs::path folder = name;
  const auto beside = [&](const char* side) { return source.empty() ? source : source / side; };
  std::error_code error = MakeSide(folder / "in", beside("in"), {"tables", "files", "user"});
  if (!error) error = MakeSide(folder / "out", beside("out"), {"tables", "files"});
  if (!error) return folder;
  RemoveDataFolder(folder);
  return Refuse(Code::kInvalid, "cannot fill the data folder in " + place.string() + ": " +
                                    error.message());
}

bool RemoveDataFolder(const fs::path& folder) {
  std::error_code error;
  // What holds the secrets goes first, whatever becomes of the rest.
  fs::remove(folder / "config.json", error);
  fs::remove_all(folder, error);
  if (!fs::exists(fs::symlink_status(folder, error))) return true;
  // A folder without the right to write keeps what is in it.
  fs::permissions(folder, fs::perms::owner_all, fs::perm_options::add, error);
  for (fs::recursive_directory_iterator at(folder, error), end; !error && at != end;
       at.increment(error)) {
    if (at->is_directory(error) && !at->is_symlink(error)) {
      fs::permissions(at->path(), fs::perms::owner_all, fs::perm_options::add, error);
    }
  }
  fs::remove_all(folder, error);
  return !fs::exists(fs::symlink_status(folder, error));
}

}  // namespace oauthvault::client
