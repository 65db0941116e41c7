#include "daemon/rivery/accounts.h"

#include <algorithm>
#include <utility>

namespace oauthvault::rivery {
namespace {

Result<void> CheckToken(const crypto::ApiToken& token) {
  const bool printable = token.Bytes().Expose([](std::span<const std::uint8_t> bytes) {
    return std::ranges::all_of(bytes, [](std::uint8_t c) { return c > 0x20 && c < 0x7f; });
  });
  if (token.Empty() || token.Bytes().Size() > kMaxApiTokenSize || !printable) {
    return Fail(Code::kInvalid, "an API token is one line of 1 to 4,096 printable characters");
  }
  return {};
}

Result<void> CheckProjects(const storage::Store& store, const std::vector<std::string>& projects) {
  if (projects == std::vector<std::string>{"*"}) return {};
  for (const std::string& text : projects) {
    auto id = ProjectId::Parse(text);
    if (!id) return Fail(std::move(id));
    auto found = store.Find<storage::Project>(storage::Project::Names(*id));
    if (!found) return Fail(std::move(found));
    if (!*found) return Fail(Code::kNotFound, "register the project before the account", *id);
  }
  return {};
}

}  // namespace

Result<storage::Stored<storage::Account>> SetAccount(storage::Store& store, const AccountId& id,
                                                     AccountFields fields, const Reach& reach,
                                                     storage::Act act, std::int64_t now_s) {
  auto standing = store.Find<storage::Account>(storage::Account::Names(id));
  if (!standing) return Fail(std::move(standing));
  if (!*standing && (!fields.base_url || !fields.token || !fields.projects)) {
    return Fail(Code::kInvalid, "a new account needs a base URL, an API token and projects", id);
  }
  storage::Account account = *standing ? (*standing)->row : storage::Account{.id = id};
  if (fields.base_url) {
    auto url = NormalizeBaseUrl(*fields.base_url, reach);
    if (!url) return Fail(std::move(url));
    if (*standing && *url != account.base_url && !fields.token) {
      return Fail(Code::kStale, "a new base URL needs the API token again", id);
    }
    account.base_url = std::move(*url);
  }
  if (fields.projects) {
    if (auto ok = CheckProjects(store, *fields.projects); !ok) return Fail(std::move(ok));
    account.projects = std::move(*fields.projects);
  }
  storage::Secrets secrets;
  if (fields.token) {
    if (auto ok = CheckToken(*fields.token); !ok) return Fail(std::move(ok));
    secrets.data = std::move(*fields.token).Take();
  } else {
    auto kept = store.OpenSecrets(**standing);
    if (!kept) return Fail(std::move(kept));
    secrets = std::move(*kept);
  }
  account.updated_at_s = now_s;
  account.updated_by = act.principal;

  act.object = id.Str();
  act.version = *standing ? (*standing)->version + 1 : 1;
  storage::Batch batch(std::move(act));
  if (*standing) {
    batch.Replace(account, (*standing)->version, std::move(secrets));
  } else {
    batch.Insert(account, std::move(secrets));
  }
  if (auto committed = store.Commit(std::move(batch)); !committed) {
    return Fail(std::move(committed));
  }
  return store.Get<storage::Account>(storage::Account::Names(id));
}

Result<OpenAccount> OpenAccountFor(const storage::Store& store, const AccountId& id,
                                   const std::optional<ProjectId>& project) {
  auto account = store.Get<storage::Account>(storage::Account::Names(id));
  if (!account) return Fail(std::move(account));
  if (project) {
    const auto& allowed = account->row.projects;
    if (std::ranges::find(allowed, "*") == allowed.end() &&
        std::ranges::find(allowed, project->Str()) == allowed.end()) {
      return Fail(Code::kDenied, "the project may not use this account", id);
    }
  }
  auto token = store.OpenSecret(*account, crypto::Part::kData);
  if (!token) return Fail(std::move(token));
  return OpenAccount{account->row.base_url, crypto::ApiToken(std::move(*token))};
}

}  // namespace oauthvault::rivery
