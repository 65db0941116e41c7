#include "daemon/rpc/credentials_service.h"

#include <grpcpp/support/proto_buffer_reader.h>

#include <string>
#include <utility>

#include "crypto/secret.h"
#include "daemon/custody/inject.h"
#include "daemon/custody/reveal.h"
#include "daemon/custody/store.h"
#include "daemon/rpc/secret_reply.h"

namespace oauthvault::rpc {
namespace {

void Write(const storage::Stored<storage::Credentials>& stored, v1::CredentialsInfo& message) {
  const storage::Credentials& row = stored.row;
  message.set_project(row.project.Str());
  message.set_component(row.component.Str());
  message.set_id(row.id.Str());
  message.set_authorized_for(row.authorized_for);
  message.mutable_creator()->set_id(row.creator_id);
  message.mutable_creator()->set_description(row.creator_description);
  message.set_created(custody::CreatedText(row.created_at_s));
  message.set_oauth_version(row.oauth_version);
  message.set_app_key(row.app_key.empty() ? row.client_id : row.app_key);
  message.set_version(stored.version);
  message.set_data_size_bytes(
      static_cast<std::uint32_t>(stored.sealed.PlainSize(crypto::Part::kData)));
  message.set_foreign_client(row.foreign_client);
}

// A step of a method that answers by itself. A step that throws has not answered yet: gRPC would
// say UNIMPLEMENTED with no text, and the trail's thread would end the process.
template <class Refuse, class Step>
void Take(const Refuse& refuse, Step step) noexcept {
  try {
    step();
  } catch (...) {
    refuse(Edge::FailedInside());
  }
}

template <class Message>
Result<Message> Decode(const grpc::ByteBuffer& bytes) {
  grpc::ByteBuffer shared = bytes;  // counts references; the reader wants a mutable one
  grpc::ProtoBufferReader reader(&shared);
  Message message;
  if (!reader.status().ok() || !message.ParseFromZeroCopyStream(&reader)) {
    return Fail(Code::kInvalid, "the request is no message of this method");
  }
  return message;
}

Result<storage::Stored<storage::Credentials>> Find(const storage::Store& store,
                                                   const access::Scope& scope,
                                                   const std::string& id_text) {
  auto project = ProjectId::Parse(scope.project);
  if (!project) return Fail(std::move(project));
  auto component = ComponentId::Parse(scope.component);
  if (!component) return Fail(std::move(component));
  auto id = OauthId::Parse(id_text);
  if (!id) return Fail(std::move(id));
  return store.Get<storage::Credentials>(storage::Credentials::Names(*project, *component, *id));
}

}  // namespace

grpc::ServerUnaryReactor* CredentialsService::Store(grpc::CallbackServerContext* call,
                                                    const v1::StoreRequest* request,
                                                    v1::CredentialsInfo* response) {
  return edge_.Serve(
      call, "Credentials.Store", workers_, request, response,
      [this](Admitted& admitted, const auto& asked, auto& answer) -> Result<void> {
        auto id = OauthId::Parse(asked.id());
        if (!id) return Fail(std::move(id));
        custody::NewCredentials credentials{*id};
        credentials.authorized_for = asked.authorized_for();
        credentials.creator_description = asked.creator_description();
        credentials.data = crypto::CredentialsData(crypto::SecretBytes::CopyOf(asked.data()));
        credentials.app_key = asked.app_key();
        credentials.app_secret =
            crypto::AppSecret(crypto::SecretBytes::CopyOf(asked.app_secret()));
        auto stored = custody::Put(
            admitted.permit, std::move(credentials),
            asked.must_be_new() ? custody::IfThere::kRefuse : custody::IfThere::kReplace,
            admitted.ForCommit(), store_, edge_.NowS());
        if (!stored) return Fail(std::move(stored));
        Write(*stored, answer);
        return {};
      });
}

grpc::ServerUnaryReactor* CredentialsService::Describe(grpc::CallbackServerContext* call,
                                                       const v1::DescribeRequest* request,
                                                       v1::CredentialsInfo* response) {
  return edge_.Serve(
      call, "Credentials.Describe", workers_, request, response,
      [this](Admitted& admitted, const auto& asked, auto& answer) -> Result<void> {
        auto found = Find(store_, admitted.permit.Where(), asked.id());
        if (!found) return Fail(std::move(found));
        Write(*found, answer);
        return {};
      });
}

// Reveal is what everything waits for: no other thread but the trail's takes part in it.
grpc::ServerUnaryReactor* CredentialsService::Reveal(grpc::CallbackServerContext* call,
                                                     const grpc::ByteBuffer* request,
                                                     grpc::ByteBuffer* response) noexcept {
  grpc::ServerUnaryReactor* reactor = call->DefaultReactor();
  const auto refuse = [call, reactor](const Error& error) {
    reactor->Finish(StatusOf(error, *call));
  };
  const Rule& rule = edge_.Rules().Of("Credentials.Reveal");
  Result<v1::RevealRequest> asked = Decode<v1::RevealRequest>(*request);
  if (!asked) return refuse(asked.error()), reactor;
  Result<access::Scope> scope = Edge::ScopeOf(rule, *asked);
  if (!scope) return refuse(scope.error()), reactor;
  Result<OauthId> id = OauthId::Parse(asked->id());
  if (!id) return refuse(id.error()), reactor;

  const std::string oauth_id = id->Str();  // before `id` moves into what happens next
  edge_.Admit(call, rule, *scope, oauth_id,
              [this, refuse, reactor, response, act = rule.act,
               id = std::move(*id)](Result<Admitted> admitted) {
                if (!admitted) return refuse(admitted.error());
                auto answer = [refuse, reactor, response](Result<custody::Release> release) {
                  if (!release) return refuse(release.error());
                  Take(refuse, [&] {
                    auto bytes = WriteRevealResponse(std::move(*release));
                    if (!bytes) return refuse(bytes.error());
                    *response = std::move(*bytes);
                    reactor->Finish(grpc::Status::OK);
                  });
                };
                Take(refuse, [&] {
                  custody::Reveal(std::move(admitted->permit), id, admitted->caller, act, store_,
                                  edge_.GetTrail(), std::move(answer));
                });
              });
  return reactor;
}

grpc::ServerUnaryReactor* CredentialsService::Inject(grpc::CallbackServerContext* call,
                                                     const grpc::ByteBuffer* request,
                                                     grpc::ByteBuffer* response) noexcept {
  grpc::ServerUnaryReactor* reactor = call->DefaultReactor();
  const auto refuse = [call, reactor](const Error& error) {
    reactor->Finish(StatusOf(error, *call));
  };
  const Rule& rule = edge_.Rules().Of("Credentials.Inject");
  Result<v1::InjectRequest> asked = Decode<v1::InjectRequest>(*request);
  if (!asked) return refuse(asked.error()), reactor;
  Result<access::Scope> scope = Edge::ScopeOf(rule, *asked);
  if (!scope) return refuse(scope.error()), reactor;
  // The configuration may hold secrets of the caller's own.
  crypto::SecretBytes document = crypto::SecretBytes::CopyOf(asked->configuration());
  crypto::Wipe(*asked->mutable_configuration());
  const custody::IdBeside id_beside =
      asked->drop_id() ? custody::IdBeside::kDrop : custody::IdBeside::kKeep;

  edge_.Admit(call, rule, *scope, {},
              [this, refuse, reactor, response, id_beside,
               document = std::move(document)](Result<Admitted> admitted) {
                if (!admitted) return refuse(admitted.error());
                auto answer = [refuse, reactor, response](Result<crypto::SecretBytes> injected) {
                  if (!injected) return refuse(injected.error());
                  Take(refuse, [&] {
                    *response = WriteInjectResponse(std::move(*injected));
                    reactor->Finish(grpc::Status::OK);
                  });
                };
                Take(refuse, [&] {
                  custody::Inject(std::move(admitted->permit), document, id_beside,
                                  admitted->caller, store_, edge_.GetTrail(), std::move(answer));
                });
              });
  return reactor;
}

grpc::ServerUnaryReactor* CredentialsService::List(grpc::CallbackServerContext* call,
                                                   const v1::ListRequest* request,
                                                   v1::ListResponse* response) {
  return edge_.Serve(
      call, "Credentials.List", workers_, request, response,
      [this](Admitted& admitted, const auto& asked, auto& answer) -> Result<void> {
        const access::Scope& where = admitted.permit.Where();
        auto page = store_.List<storage::Credentials>(where.project, where.component,
                                                      asked.page_token(), asked.page_size());
        if (!page) return Fail(std::move(page));
        for (const auto& stored : page->rows) Write(stored, *answer.add_credentials());
        answer.set_next_page_token(page->next);
        return {};
      });
}

grpc::ServerUnaryReactor* CredentialsService::Delete(grpc::CallbackServerContext* call,
                                                     const v1::DeleteRequest* request,
                                                     v1::DeleteResponse* response) {
  return edge_.Serve(call, "Credentials.Delete", workers_, request, response,
                     [this](Admitted& admitted, const auto& asked, auto&) -> Result<void> {
                       auto id = OauthId::Parse(asked.id());
                       if (!id) return Fail(std::move(id));
                       return custody::Delete(admitted.permit, *id, admitted.ForCommit(), store_);
                     });
}

}  // namespace oauthvault::rpc
