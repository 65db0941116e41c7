#include "daemon/rpc/accounts_service.h"

#include <algorithm>
#include <charconv>
#include <chrono>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "daemon/rivery/accounts.h"

namespace oauthvault::rpc {
namespace {

void Write(const storage::Account& row, v1::Account& message) {
  message.set_id(row.id.Str());
  message.set_base_url(row.base_url);
  for (const std::string& project : row.projects) message.add_projects(project);
  message.set_updated_at_s(row.updated_at_s);
  message.set_updated_by(row.updated_by);
  message.set_refused_at_s(row.refused_at_s);
}

// The API token leaves the vault, so its line comes first.
Result<void> Announce(const Edge& edge, Admitted& admitted) {
  admitted.entry.outcome = audit::Outcome::kAllowed;
  auto recorded = edge.GetTrail().RecordAndWait(admitted.entry);
  if (!recorded) return Fail(std::move(recorded));
  admitted.recorded = true;
  return {};
}

}  // namespace

void AccountsService::AddTo(Methods& methods) {
  methods.Add("Accounts.Set", *this, &AccountsService::Set);
  methods.Add("Accounts.Get", *this, &AccountsService::Get);
  methods.Add("Accounts.List", *this, &AccountsService::List);
  methods.Add("Accounts.Check", *this, &AccountsService::Check);
  methods.Add("Accounts.ListTypes", *this, &AccountsService::ListTypes);
}

void AccountsService::Set(Call& call) {
  edge_.Serve<v1::SetAccountRequest, v1::Account>(
      call, workers_, [this](Admitted& admitted, const auto& asked, auto& answer) -> Result<void> {
        auto id = AccountId::Parse(asked.id());
        if (!id) return Fail(std::move(id));
        admitted.entry.object = id->Str();
        rivery::AccountFields fields;
        if (!asked.base_url().empty()) fields.base_url = asked.base_url();
        if (!asked.region().empty()) {
          if (fields.base_url) {
            return Fail(Code::kInvalid, "an account has a region or a base URL, not both", *id);
          }
          auto url = rivery::BaseUrlOf(asked.region());
          if (!url) return Fail(std::move(url));
          fields.base_url = std::move(*url);
        }
        if (!asked.api_token().empty()) {
          fields.token = crypto::ApiToken(crypto::SecretBytes::CopyOf(asked.api_token()));
        }
        if (asked.projects_size() != 0) {
          fields.projects.emplace(asked.projects().begin(), asked.projects().end());
        }
        auto account = rivery::SetAccount(store_, *id, fields, reach_,
                                          admitted.ForCommit(), edge_.NowS());
        if (!account) return Fail(std::move(account));
        Write(account->row, answer);
        return {};
      });
}

void AccountsService::Get(Call& call) {
  edge_.Serve<v1::GetAccountRequest, v1::Account>(
      call, workers_, [this](Admitted&, const auto& asked, auto& answer) -> Result<void> {
        auto id = AccountId::Parse(asked.id());
        if (!id) return Fail(std::move(id));
        auto account =
            store_.Get<storage::Account>(storage::Account::Names(*id));
        if (!account) return Fail(std::move(account));
        Write(account->row, answer);
        return {};
      });
}

void AccountsService::List(Call& call) {
  edge_.Serve<v1::ListAccountsRequest, v1::ListAccountsResponse>(
      call, workers_, [this](Admitted&, const auto& asked, auto& answer) -> Result<void> {
        auto page = store_.List<storage::Account>("", "", asked.page_token(),
                                                  asked.page_size());
        if (!page) return Fail(std::move(page));
        for (const auto& stored : page->rows) {
          Write(stored.row, *answer.add_accounts());
        }
        answer.set_next_page_token(page->next);
        return {};
      });
}

void AccountsService::Check(Call& call) {
  edge_.Serve<v1::CheckAccountRequest, v1::CheckAccountResponse>(
      call, rivery_workers_,
      [this](Admitted& admitted, const auto& asked, auto& answer) -> Result<void> {
        auto id = AccountId::Parse(asked.id());
        if (!id) return Fail(std::move(id));
        admitted.entry.object = id->Str();
        auto account = rivery::OpenAccountFor(store_, *id, std::nullopt);
        if (!account) return Fail(std::move(account));
        auto turn = rate_.TakeNow(*id, rivery::Purpose::kOnward, rivery::kCheckCalls);
        if (!turn) return Fail(std::move(turn));
        if (auto announced = Announce(edge_, admitted); !announced) return announced;
        const rivery::AccountReport report = rivery::CheckAccount(client_, *account, *turn);
        answer.set_id(id->Str());
        answer.set_base_url(account->base_url);
        answer.set_ok(true);
        answer.set_rivery_account_id(report.holder.account_id);
        answer.set_rivery_environment_id(report.holder.environment_id);
        bool refused = false;
        for (const rivery::Probe& probe : report.probes) {
          v1::AccountProbe& shown = *answer.add_probes();
          shown.set_what(std::string(probe.what));
          shown.set_ok(!probe.wrong);
          if (!probe.wrong) continue;
          answer.set_ok(false);
          refused = refused || probe.wrong->GetCode() == Code::kUnauthenticated;
          shown.set_code(std::string(NameOf(probe.wrong->GetCode())));
          shown.set_text(probe.wrong->Message());
        }
        storage::Act act = admitted.entry;
        // What Rivery said of the token holds for everybody; that it did not answer says nothing.
        if (refused) {
          act.act = "account.refused";
          return rivery::MarkRefused(store_, *id, account->version, std::move(act), edge_.NowS());
        }
        if (report.probes.front().wrong) return {};
        act.act = "account.good";
        return rivery::MarkGood(store_, *id, account->version, std::move(act));
      });
}

// The catalogue comes whole from Rivery, so a page token is the place in its sorted list.
void AccountsService::ListTypes(Call& call) {
  edge_.Serve<v1::ListTypesRequest, v1::ListTypesResponse>(
      call, rivery_workers_,
      [this](Admitted& admitted, const auto& asked, auto& answer) -> Result<void> {
        auto id = AccountId::Parse(asked.account());
        if (!id) return Fail(std::move(id));
        std::size_t from = 0;
        const std::string& token = asked.page_token();
        const auto [end, wrong] =
            std::from_chars(token.data(), token.data() + token.size(), from);
        if (!token.empty() && (wrong != std::errc() || end != token.data() + token.size())) {
          return Fail(Code::kInvalid, "this page token is not from a list of types");
        }
        admitted.entry.object = id->Str();
        auto account = rivery::OpenAccountFor(store_, *id, std::nullopt);
        if (!account) return Fail(std::move(account));
        auto listing = catalogue_.Types(*id, *account, asked.refresh(),
                                        [&] { return Announce(edge_, admitted); });
        if (!listing) return std::unexpected(std::move(listing.error().error));
        const std::vector<rivery::ConnectionType>* types = &(*listing)->types;
        answer.set_age_s(std::chrono::duration_cast<std::chrono::seconds>(
                             std::chrono::steady_clock::now() - (*listing)->read_at)
                             .count());
        const std::size_t size =
            asked.page_size() == 0
                ? storage::kDefaultPageSize
                : std::min<std::size_t>(asked.page_size(), storage::kMaxPageSize);
        for (std::size_t i = from; i < types->size() && i - from < size; ++i) {
          v1::ConnectionType* type = answer.add_types();
          type->set_connection_type((*types)[i].connection_type);
          type->set_datasource_id((*types)[i].datasource_id);
          type->set_oauth2((*types)[i].oauth2);
        }
        if (types->size() > from && types->size() - from > size) {
          answer.set_next_page_token(std::to_string(from + size));
        }
        return {};
      });
}

}  // namespace oauthvault::rpc
