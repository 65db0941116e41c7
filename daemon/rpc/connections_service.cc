#include "daemon/rpc/connections_service.h"

#include <utility>

namespace oauthvault::rpc {

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
  // Credentials that were deleted and stored anew count from 1 again, so their age is asked, too.
  message.set_in_step(*credentials && (*credentials)->version == row.written_version &&
                      (*credentials)->row.created_at_s <= row.updated_at_s);
  return {};
}

grpc::ServerUnaryReactor* ConnectionsService::Get(grpc::CallbackServerContext* call,
                                                  const v1::GetConnectionRequest* request,
                                                  v1::Connection* response) {
  return edge_.Serve(
      call, "Connections.Get", workers_, request, response,
      [this](Admitted&, const auto& asked, auto& answer) -> Result<void> {
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

grpc::ServerUnaryReactor* ConnectionsService::List(grpc::CallbackServerContext* call,
                                                   const v1::ListConnectionsRequest* request,
                                                   v1::ListConnectionsResponse* response) {
  return edge_.Serve(
      call, "Connections.List", workers_, request, response,
      [this](Admitted& admitted, const auto& asked, auto& answer) -> Result<void> {
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

grpc::ServerUnaryReactor* ConnectionsService::Update(grpc::CallbackServerContext* call,
                                                     const v1::UpdateConnectionRequest* request,
                                                     v1::Connection* response) {
  return edge_.Serve(
      call, "Connections.Update", rivery_workers_, request, response,
      [this](Admitted& admitted, const auto& asked, auto& answer) -> Result<void> {
        auto account = AccountId::Parse(asked.account());
        if (!account) return Fail(std::move(account));
        if (!IsValidId(asked.id())) {
          return Fail(Code::kInvalid, "a connection's id is 24 hex digits");
        }
        admitted.entry.object = asked.id();
        admitted.recorded = true;  // by the reveal inside; a failure gets a line of its own
        auto updated = connections_.Update(std::move(admitted.permit), *account, asked.id(),
                                           asked.name(), admitted.caller, edge_.NowS());
        if (!updated) return Fail(std::move(updated));
        return Write(updated->row, answer);
      });
}

}  // namespace oauthvault::rpc
