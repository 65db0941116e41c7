#include "daemon/rpc/credentials_service.h"

#include <optional>
#include <string>
#include <utility>

#include "crypto/secret.h"
#include "daemon/custody/encrypt.h"
#include "daemon/custody/inject.h"
#include "daemon/custody/reveal.h"
#include "daemon/custody/store.h"
#include "daemon/custody/versions.h"
#include "daemon/rpc/credentials_info.h"
#include "daemon/rpc/raw_call.h"
#include "daemon/rpc/secret_reply.h"

namespace oauthvault::rpc {
namespace {

Result<storage::Stored<storage::Credentials>> Find(const storage::Store& store,
                                                   const access::Scope& scope,
                                                   const std::string& id_text) {
  auto pair = scope.AsPair();
  if (!pair) return Fail(std::move(pair));
  auto id = OauthId::Parse(id_text);
  if (!id) return Fail(std::move(id));
  return store.Get<storage::Credentials>(
      storage::Credentials::Names(pair->project, pair->component, *id));
}

// What a request names beside the pair; an empty text is none.
struct Narrower {
  std::optional<ConfigurationId> configuration;
  std::optional<custody::BranchType> branch_type;
};

template <class Request>
Result<Narrower> NarrowerOf(const Request& request) {
  Narrower narrower;
  if (!request.configuration_id().empty()) {
    auto configuration = ConfigurationId::Parse(request.configuration_id());
    if (!configuration) return Fail(std::move(configuration));
    narrower.configuration = std::move(*configuration);
  }
  if (!request.branch_type().empty()) {
    auto branch_type = custody::ParseBranchType(request.branch_type());
    if (!branch_type) return Fail(std::move(branch_type));
    narrower.branch_type = *branch_type;
  }
  return narrower;
}

Result<custody::SealFor> SealForOf(const v1::EncryptRequest& request) {
  auto narrower = NarrowerOf(request);
  if (!narrower) return Fail(std::move(narrower));
  custody::SealFor to{.configuration = std::move(narrower->configuration),
                      .branch_type = narrower->branch_type};
  switch (request.scope()) {
    case v1::VALUE_SCOPE_UNSPECIFIED: {
      const auto scope = custody::ScopeFor(to.configuration, to.branch_type);
      if (!scope) return std::unexpected(scope.error());
      to.scope = *scope;
      return to;
    }
    case v1::VALUE_SCOPE_COMPONENT: to.scope = custody::ValueScope::kComponent; return to;
    case v1::VALUE_SCOPE_PROJECT: to.scope = custody::ValueScope::kProject; return to;
    case v1::VALUE_SCOPE_CONFIGURATION: to.scope = custody::ValueScope::kConfiguration; return to;
    case v1::VALUE_SCOPE_PROJECT_WIDE: to.scope = custody::ValueScope::kProjectWide; return to;
    case v1::VALUE_SCOPE_BRANCH_TYPE: to.scope = custody::ValueScope::kBranchType; return to;
    default: return Fail(Code::kInvalid, "the scope of the values to seal is not known");
  }
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
            kept_versions_, admitted.ForCommit(), store_, edge_.NowS());
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
        if (asked.version() == 0 || asked.version() == found->version) {
          Write(*found, answer);
          return {};
        }
        auto former = custody::FormerVersionOf(*found, asked.version(), store_);
        if (!former) return Fail(std::move(former));
        Write(*former, answer);
        return {};
      });
}

// Reveal is what everything waits for: no other thread but the trail's takes part in it.
grpc::ServerUnaryReactor* CredentialsService::Reveal(grpc::CallbackServerContext* call,
                                                     const grpc::ByteBuffer* request,
                                                     grpc::ByteBuffer* response) noexcept {
  auto* reactor = new UnaryCall;
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
  edge_.Admit(call, rule, request->Length(), *scope, oauth_id,
              [this, refuse, reactor, response, act = rule.act,
               id = std::move(*id)](Result<Admitted> admitted) {
                if (!admitted) return refuse(admitted.error());
                reactor->Hold(std::move(admitted->place));
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
  auto* reactor = new UnaryCall;
  const auto refuse = [call, reactor](const Error& error) {
    reactor->Finish(StatusOf(error, *call));
  };
  Rule rule = edge_.Rules().Of("Credentials.Inject");
  Result<v1::InjectRequest> asked = Decode<v1::InjectRequest>(*request);
  if (!asked) return refuse(asked.error()), reactor;
  Result<access::Scope> scope = Edge::ScopeOf(rule, *asked);
  if (!scope) return refuse(scope.error()), reactor;
  Result<Narrower> narrower = NarrowerOf(*asked);
  if (!narrower) return refuse(narrower.error()), reactor;
  // A sandbox lets nothing out that is not sealed.
  if (asked->sandbox()) rule.right = access::Right::kDescribe;
  // The configuration may hold secrets of the caller's own.
  custody::Injection injection{
      .document = crypto::SecretBytes::CopyOf(asked->configuration()),
      .id_beside = asked->drop_id() ? custody::IdBeside::kDrop : custody::IdBeside::kKeep,
      .secrets = asked->sandbox() ? custody::Secrets::kSealed : custody::Secrets::kOpen,
      .configuration = std::move(narrower->configuration),
      .branch_type = narrower->branch_type};
  crypto::Wipe(*asked->mutable_configuration());

  edge_.Admit(call, rule, request->Length(), *scope, {},
              [this, refuse, reactor, response,
               injection = std::move(injection)](Result<Admitted> admitted) mutable {
                if (!admitted) return refuse(admitted.error());
                reactor->Hold(std::move(admitted->place));
                auto answer = [refuse, reactor, response](Result<crypto::SecretBytes> injected) {
                  if (!injected) return refuse(injected.error());
                  Take(refuse, [&] {
                    *response = WriteInjectResponse(std::move(*injected));
                    reactor->Finish(grpc::Status::OK);
                  });
                };
                Take(refuse, [&] {
                  custody::Inject(std::move(admitted->permit), std::move(injection),
                                  admitted->caller, store_, keyring_, edge_.GetTrail(),
                                  std::move(answer));
                });
              });
  return reactor;
}

grpc::ServerUnaryReactor* CredentialsService::Encrypt(grpc::CallbackServerContext* call,
                                                      const v1::EncryptRequest* request,
                                                      v1::EncryptResponse* response) {
  return edge_.Serve(
      call, "Credentials.Encrypt", workers_, request, response,
      [this](Admitted& admitted, const auto& asked, auto& answer) -> Result<void> {
        auto to = SealForOf(asked);
        if (!to) return Fail(std::move(to));
        const bool is_text = asked.plain_case() == v1::EncryptRequest::kText;
        const auto plain =
            crypto::SecretBytes::CopyOf(is_text ? asked.text() : asked.document());
        auto sealed =
            is_text ? custody::EncryptText(admitted.permit, *to, plain, keyring_, store_)
                    : custody::EncryptDocument(admitted.permit, *to, plain, keyring_, store_);
        if (!sealed) return Fail(std::move(sealed));
        sealed->Expose([&answer](std::span<const std::uint8_t> bytes) {
          answer.set_sealed(bytes.data(), bytes.size());
        });
        return {};
      });
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

grpc::ServerUnaryReactor* CredentialsService::ListVersions(grpc::CallbackServerContext* call,
                                                           const v1::ListVersionsRequest* request,
                                                           v1::ListVersionsResponse* response) {
  return edge_.Serve(call, "Credentials.ListVersions", workers_, request, response,
                     [this](Admitted& admitted, const auto& asked, auto& answer) -> Result<void> {
                       auto found = Find(store_, admitted.permit.Where(), asked.id());
                       if (!found) return Fail(std::move(found));
                       auto former = custody::FormerVersions(*found, store_);
                       if (!former) return Fail(std::move(former));
                       Write(*found, *answer.add_versions());
                       for (const custody::FormerVersion& one : *former) {
                         v1::CredentialsInfo& info = *answer.add_versions();
                         if (one.stored) Write(*one.stored, info);
                         info.set_version(one.version);
                         info.set_damaged(!one.stored);
                       }
                       return {};
                     });
}

grpc::ServerUnaryReactor* CredentialsService::RollBack(grpc::CallbackServerContext* call,
                                                       const v1::RollBackRequest* request,
                                                       v1::CredentialsInfo* response) {
  return edge_.Serve(
      call, "Credentials.RollBack", workers_, request, response,
      [this](Admitted& admitted, const auto& asked, auto& answer) -> Result<void> {
        auto id = OauthId::Parse(asked.id());
        if (!id) return Fail(std::move(id));
        auto rolled_back = custody::RollBack(admitted.permit, *id, asked.version(), kept_versions_,
                                             admitted.ForCommit(), store_);
        if (!rolled_back) return Fail(std::move(rolled_back));
        Write(*rolled_back, answer);
        return {};
      });
}

grpc::ServerUnaryReactor* CredentialsService::Prune(grpc::CallbackServerContext* call,
                                                    const v1::PruneRequest* request,
                                                    v1::PruneResponse* response) {
  return edge_.Serve(
      call, "Credentials.Prune", workers_, request, response,
      [this](Admitted& admitted, const auto& asked, auto& answer) -> Result<void> {
        auto id = OauthId::Parse(asked.id());
        if (!id) return Fail(std::move(id));
        auto removed =
            custody::Prune(admitted.permit, *id, asked.keep(), admitted.ForCommit(), store_);
        if (!removed) return Fail(std::move(removed));
        admitted.recorded = *removed != 0;  // else the call's own line tells of it
        answer.set_removed(static_cast<std::uint32_t>(*removed));
        return {};
      });
}

}  // namespace oauthvault::rpc
