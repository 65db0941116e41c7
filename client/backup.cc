#include <algorithm>

#include "client/session.h"
#include "oauthvault/v1/operations.pb.h"

namespace oauthvault::client {

std::string RenderBackups(std::span<const nlohmann::ordered_json> backups, Style style) {
  return RenderList(
      backups, {"folder", "at_s", "restore_epoch", "generation", "rows", "size_bytes"}, style);
}

void AddBackupVerbs(CLI::App& app, Session& session) {
  {
    const auto request = NewRequest<v1::BackupRequest>();
    CLI::App& verb = AddVerb(
        app, session,
        {"backup", "Copy store and keys, while the vault works; checked before it counts",
         "oauthvault backup /var/backups/oauthvault/monday"},
        [request](Session& run) -> Outcome<void> {
          if (!request->folder().starts_with('/')) {
            return Refuse(Code::kInvalid, "FOLDER is an absolute path on the daemon's host");
          }
          run.AllowLong();
          return run.Show(*request);
        });
    verb.add_option("FOLDER", *request->mutable_folder(),
                    "An absolute path on the daemon's host, where nothing is yet")
        ->required();
  }
  {
    const auto request = NewRequest<v1::ListBackupsRequest>();
    AddVerb(app, session,
            {"backups", "The backups that were made, oldest first", "oauthvault backups"},
            [request](Session& run) -> Outcome<void> {
              auto rows = run.FetchRows(*request);
              if (!rows) return Refuse(std::move(rows));
              std::ranges::stable_sort(*rows, {}, [](const auto& backup) {
                return backup["at_s"].template get<std::int64_t>();
              });
              return WriteOut(RenderBackups(*rows, run.style));
            });
  }
}

}  // namespace oauthvault::client
