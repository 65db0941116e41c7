#include "daemon/rpc/connections_service.h"

#include <string>
#include <utility>

#include "storage/utf8.h"

namespace oauthvault::rpc {
namespace {

v1::ConnectionStep StepOf(rivery::Step step) {
  switch (step) {
    case rivery::Step::kInStep: return v1::CONNECTION_STEP_IN_STEP;
    case rivery::Step::kBehind: return v1::CONNECTION_STEP_BEHIND;
    case rivery::Step::kRefused: return v1::CONNECTION_STEP_REFUSED;
  }
  return v1::CONNECTION_STEP_UNSPECIFIED;
}

// Which connection a request names.
Result<rivery::ConnectionName> NameIn(const std::string& account, const std::string& id) {
  auto account_id = AccountId::Parse(account);
  if (!account_id) return Fail(std::move(account_id));
  if (!IsValidId(id)) return Fail(Code::kInvalid, "a connection's id is 24 hex digits");
  return rivery::ConnectionName{std::move(*account_id), id};
}

void WriteVerified(const rivery::Verified& verified, v1::VerifiedConnection& message) {
  message.set_id(verified.row.connection_id);
  message.set_name(verified.row.name);
  for (const rivery::Drift drift : verified.drift) {
    message.add_drift(std::string(rivery::NameOf(drift)));
  }
  // What Rivery says may be no UTF-8, which no message can hold.
  if (IsValidUtf8(verified.remote_name)) message.set_remote_name(verified.remote_name);
  message.set_changed_at_ms(verified.changed_at_ms);
  for (const std::string& id : verified.duplicates) message.add_duplicates(id);
}

}  // namespace

Result<void> ConnectionsService::Write(const storage::Connection& row,
                                       v1::Connection& message) const {
  message.set_project(row.project.Str());
  message.set_component(row.component.Str());
  message.set_account(row.account.Str());
  message.set_id(row.connection_id);
  message.set_cross_id(row.cross_id);
  message.set_name(row.name);
  message.set_connection_type(row.connection_type);
  message.set_oauth_id(row.oauth_id.Str());
  message.set_written_version(row.written_version);
  message.set_created_at_s(row.created_at_s);
  message.set_updated_at_s(row.updated_at_s);
  auto credentials = store_.Find<storage::Credentials>(
      storage::Credentials::Names(row.project, row.component, row.oauth_id));
  if (!credentials) return Fail(std::move(credentials));
  const rivery::Standing standing = rivery::StandingOf(row, *credentials);
  message.set_in_step(standing.step == rivery::Step::kInStep);
  message.set_step(StepOf(standing.step));
  message.set_why(standing.step == rivery::Step::kBehind ? propagation_.TroubleOf(row)
                                                         : standing.why);
  message.set_principal(row.principal);
  message.set_written_fingerprint(row.written_fingerprint);
  return {};
}

void ConnectionsService::AddTo(Methods& methods) {
  methods.Add("Connections.Get", *this, &ConnectionsService::Get);
  methods.Add("Connections.List", *this, &ConnectionsService::List);
  methods.Add("Connections.Update", *this, &ConnectionsService::Update);
  methods.Add("Connections.Verify", *this, &ConnectionsService::Verify);
  methods.Add("Connections.Adopt", *this, &ConnectionsService::Adopt);
  methods.Add("Connections.Delete", *this, &ConnectionsService::Delete);
}

void ConnectionsService::Get(Call& call) {
  edge_.Serve<v1::GetConnectionRequest, v1::Connection>(
      call, workers_, [this](Admitted&, const auto& asked, auto& answer) -> Result<void> {
        auto project = ProjectId::Parse(asked.project());
        if (!project) return Fail(std::move(project));
        auto component = ComponentId::Parse(asked.component());
        if (!component) return Fail(std::move(component));
        auto account = AccountId::Parse(asked.account());
        if (!account) return Fail(std::move(account));
        auto found = store_.Get<storage::Connection>(
            storage::Connection::Names(*project, *component, *account, asked.id()));
        if (!found) return Fail(std::move(found));
        return Write(found->row, answer);
      });
}

void ConnectionsService::List(Call& call) {
  edge_.Serve<v1::ListConnectionsRequest, v1::ListConnectionsResponse>(
      call, workers_, [this](Admitted& admitted, const auto& asked, auto& answer) -> Result<void> {
        const access::Scope& where = admitted.permit.Where();
        auto page = store_.List<storage::Connection>(where.project, where.component,
                                                     asked.page_token(), asked.page_size());
        if (!page) return Fail(std::move(page));
        for (const auto& stored : page->rows) {
          if (auto ok = Write(stored.row, *answer.add_connections()); !ok) return ok;
        }
        answer.set_next_page_token(page->next);
        return {};
      });
}

void ConnectionsService::Update(Call& call) {
  edge_.Serve<v1::UpdateConnectionRequest, v1::Connection>(
      call, rivery_workers_,
      [this](Admitted& admitted, const auto& asked, auto& answer) -> Result<void> {
        auto name = NameIn(asked.account(), asked.id());
        if (!name) return Fail(std::move(name));
        admitted.entry.object = asked.id();
        admitted.recorded = true;  // by the reveal inside; a failure gets a line of its own
        rivery::Connections::UpdateOrder order{std::move(*name), asked.name()};
        if (asked.allow_older()) order.older = rivery::Older::kAllow;
        auto updated = connections_.Update(std::move(admitted.permit), order, admitted.caller,
                                           edge_.NowS());
        if (!updated) return Fail(std::move(updated));
        return Write(updated->row, answer);
      });
}

void ConnectionsService::Verify(Call& call) {
  edge_.Serve<v1::VerifyConnectionsRequest, v1::VerifyConnectionsResponse>(
      call, rivery_workers_,
      [this](Admitted& admitted, const auto& asked, auto& answer) -> Result<void> {
        auto account = AccountId::Parse(asked.account());
        if (!account) return Fail(std::move(account));
        if (!asked.id().empty() && !IsValidId(asked.id())) {
          return Fail(Code::kInvalid, "what is verified is named by 24 hex digits, or not at all");
        }
        admitted.entry.object = asked.id();
        admitted.recorded = true;  // before the first call; a failure gets a line of its own
        auto page = connections_.Verify(
            admitted.permit,
            {std::move(*account), asked.id(), asked.page_token(), asked.page_size()},
            admitted.caller, edge_.NowS());
        if (!page) return Fail(std::move(page));
        for (const rivery::Verified& verified : page->connections) {
          WriteVerified(verified, *answer.add_connections());
        }
        answer.set_next_page_token(page->next);
        return {};
      });
}

void ConnectionsService::Adopt(Call& call) {
  edge_.Serve<v1::AdoptConnectionRequest, v1::Connection>(
      call, rivery_workers_,
      [this](Admitted& admitted, const auto& asked, auto& answer) -> Result<void> {
        auto name = NameIn(asked.account(), asked.id());
        if (!name) return Fail(std::move(name));
        auto oauth_id = OauthId::Parse(asked.oauth_id());
        if (!oauth_id) return Fail(std::move(oauth_id));
        admitted.entry.object = asked.id();
        admitted.recorded = true;  // before the first call; a failure gets a line of its own
        auto adopted = connections_.Adopt(
            std::move(admitted.permit), {std::move(*name), std::move(*oauth_id), asked.write()},
            admitted.caller, edge_.NowS());
        if (!adopted) return Fail(std::move(adopted));
        return Write(adopted->row, answer);
      });
}

void ConnectionsService::Delete(Call& call) {
  edge_.Serve<v1::DeleteConnectionRequest, v1::DeleteConnectionResponse>(
      call, rivery_workers_, [this](Admitted& admitted, const auto& asked, auto&) -> Result<void> {
        auto name = NameIn(asked.account(), asked.id());
        if (!name) return Fail(std::move(name));
        admitted.entry.object = asked.id();
        admitted.recorded = true;  // before the call; a failure gets a line of its own
        return connections_.Delete(admitted.permit, *name, admitted.caller, edge_.NowS());
      });
}

}  // namespace oauthvault::rpc
