#include "daemon/rivery/connections.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <utility>

#include "daemon/custody/reveal.h"
#include "daemon/rivery/accounts.h"
#include "storage/utf8.h"

namespace oauthvault::rivery {
namespace {

constexpr std::size_t kMaxConnectionNameSize = 200;

// Marks a connection as being written for as long as it lives.
class Writing {
 public:
  Writing(std::mutex& guard, std::set<std::string>& busy, std::string name)
      : guard_(guard), busy_(busy), name_(std::move(name)) {
    const std::lock_guard lock(guard_);
    alone_ = busy_.insert(name_).second;
  }
  ~Writing() {
    if (!alone_) return;
    const std::lock_guard lock(guard_);
    busy_.erase(name_);
  }
  Writing(const Writing&) = delete;
  Writing& operator=(const Writing&) = delete;
  bool Alone() const { return alone_; }

 private:
  std::mutex& guard_;
  std::set<std::string>& busy_;
  const std::string name_;
  bool alone_;
};

}  // namespace

Result<void> CheckConnectionName(const std::string& name) {
  const bool printable = std::ranges::all_of(
      name, [](char c) { return static_cast<unsigned char>(c) >= 0x20 && c != 0x7f; });
  if (name.empty() || name.size() > kMaxConnectionNameSize || !printable || !IsValidUtf8(name)) {
    return Fail(Code::kInvalid, "a connection's name has 1 to 200 bytes of printable UTF-8");
  }
  return {};
}

Result<crypto::SecretBytes> BodyOf(const crypto::CredentialsData& data) {
  const bool is_object = data.Bytes().Expose([](std::span<const std::uint8_t> bytes) {
    const auto first = std::ranges::find_if(bytes, [](std::uint8_t c) {
      return c != ' ' && c != '\t' && c != '\r' && c != '\n';
    });
    return first != bytes.end() && *first == '{' &&
           nlohmann::json::accept(bytes.begin(), bytes.end());
  });
  if (!is_object) {
    return Fail(Code::kInvalid, "#data must be a JSON object to become a Rivery connection");
  }
  return data.Bytes().Clone();
}

Result<storage::Stored<storage::Connection>> Connections::Update(
    access::Permit permit, const AccountId& account, const std::string& connection_id,
    const std::string& new_name, const access::Caller& caller, std::int64_t now_s) {
  if (!new_name.empty()) {
    if (auto ok = CheckConnectionName(new_name); !ok) return Fail(std::move(ok));
  }
  auto project = ProjectId::Parse(permit.Where().project);
  if (!project) return Fail(std::move(project));
  auto component = ComponentId::Parse(permit.Where().component);
  if (!component) return Fail(std::move(component));
  const Writing writing(guard_, busy_, account.Str() + "/" + connection_id);
  if (!writing.Alone()) {
    return Fail(Code::kConflict, "another update of the connection is on its way");
  }
  auto standing = store_.Get<storage::Connection>(
      storage::Connection::Names(*project, *component, account, connection_id));
  if (!standing) return Fail(std::move(standing));
  auto open_account = OpenAccountFor(store_, account, *project);
  if (!open_account) return Fail(std::move(open_account));

  auto release = custody::RevealAndWait(std::move(permit), standing->row.oauth_id, caller,
                                        "Connections.Update", store_, trail_);
  if (!release) return Fail(std::move(release));
  const std::uint64_t written_version = release->Version();
  auto keys = std::move(*release).Open();
  if (!keys) return Fail(std::move(keys));
  auto body = BodyOf(keys->data);
  if (!body) return Fail(std::move(body));

  storage::Connection updated = standing->row;
  if (!new_name.empty()) updated.name = new_name;
  const RemoteConnection remote{updated.connection_id, updated.cross_id, standing->row.name,
                                updated.connection_type, true};
  auto reply = client_.Update(open_account->AsEndpoint(), remote, updated.name, *body);
  if (!reply) return std::unexpected(std::move(reply.error().error));

  updated.written_version = written_version;
  updated.updated_at_s = now_s;
  storage::Batch batch(storage::Act{.act = "connection.updated",
                                    .principal = caller.who.Str(),
                                    .project = project->Str(),
                                    .component = component->Str(),
                                    .oauth_id = updated.oauth_id.Str(),
                                    .object = connection_id,
                                    .version = written_version,
                                    .peer = caller.peer,
                                    .request_id = caller.request_id});
  batch.Replace(updated, standing->version);
  if (auto committed = store_.Commit(std::move(batch)); !committed) {
    return Fail(std::move(committed));
  }
  return store_.Get<storage::Connection>(updated.Names());
}

}  // namespace oauthvault::rivery
