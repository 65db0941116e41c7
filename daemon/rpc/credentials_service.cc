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

void CredentialsService::AddTo(Methods& methods) {
  methods.Add("Credentials.Store", *this, &CredentialsService::Store);
  methods.Add("Credentials.Describe", *this, &CredentialsService::Describe);
  methods.Add("Credentials.Reveal", *this, &CredentialsService::Reveal);
  methods.Add("Credentials.RevealMany", *this, &CredentialsService::RevealMany);
  methods.Add("Credentials.Watch", *this, &CredentialsService::Watch);
  methods.Add("Credentials.Inject", *this, &CredentialsService::Inject);
  methods.Add("Credentials.Encrypt", *this, &CredentialsService::Encrypt);
  methods.Add("Credentials.List", *this, &CredentialsService::List);
  methods.Add("Credentials.Delete", *this, &CredentialsService::Delete);
  methods.Add("Credentials.ListVersions", *this, &CredentialsService::ListVersions);
  methods.Add("Credentials.RollBack", *this, &CredentialsService::RollBack);
  methods.Add("Credentials.Prune", *this, &CredentialsService::Prune);
}

void CredentialsService::Store(Call& call) {
  edge_.Serve<v1::StoreRequest, v1::CredentialsInfo>(
      call, workers_, [this](Admitted& admitted, const auto& asked, auto& answer) -> Result<void> {
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

void CredentialsService::Describe(Call& call) {
  edge_.Serve<v1::DescribeRequest, v1::CredentialsInfo>(
      call, workers_, [this](Admitted& admitted, const auto& asked, auto& answer) -> Result<void> {
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
void CredentialsService::Reveal(Call& call) {
  auto asked = Edge::Read<v1::RevealRequest>(call);
  if (!asked) return call.Refuse(asked.error());
  Result<OauthId> id = OauthId::Parse(asked->request.id());
  if (!id) return call.Refuse(id.error());

  std::string oauth_id = id->Str();  // before `id` moves into what happens next
  edge_.Admit(call, asked->scope, std::move(oauth_id),
              [this, &call, id = std::move(*id)](Result<Admitted> admitted) {
                if (!admitted) return call.Refuse(admitted.error());
                call.Hold(std::move(admitted->place));
                auto answer = [&call](Result<custody::Release> release) {
                  if (!release) return call.Refuse(release.error());
                  Take(call, [&] {
                    auto bytes = WriteRevealResponse(std::move(*release));
                    if (!bytes) return call.Refuse(bytes.error());
                    call.Answer(std::move(*bytes));
                  });
                };
                Take(call, [&] {
                  custody::Reveal(std::move(admitted->permit), id, admitted->caller,
                                  call.GetMethod().rule->act, store_, edge_.GetTrail(),
                                  std::move(answer));
                });
              });
}

void CredentialsService::Inject(Call& call) {
  auto asked = Edge::Read<v1::InjectRequest>(call);
  if (!asked) return call.Refuse(asked.error());
  Result<Narrower> narrower = NarrowerOf(asked->request);
  if (!narrower) return call.Refuse(narrower.error());
  // The configuration may hold secrets of the caller's own.
  custody::Injection injection{
      .document = crypto::SecretBytes::CopyOf(asked->request.configuration()),
      .id_beside = asked->request.drop_id() ? custody::IdBeside::kDrop : custody::IdBeside::kKeep,
      .secrets = asked->request.sandbox() ? custody::Secrets::kSealed : custody::Secrets::kOpen,
      .configuration = std::move(narrower->configuration),
      .branch_type = narrower->branch_type};
  crypto::Wipe(*asked->request.mutable_configuration());
  // A sandbox lets nothing out that is not sealed.
  const access::Right right =
      asked->request.sandbox() ? access::Right::kDescribe : call.GetMethod().rule->right;

  edge_.AdmitWith(right, call, asked->scope, {},
                  [this, &call,
                   injection = std::move(injection)](Result<Admitted> admitted) mutable {
                    if (!admitted) return call.Refuse(admitted.error());
                    call.Hold(std::move(admitted->place));
                    // A large configuration takes milliseconds to read.
                    edge_.RunOn(workers_, call,
                                [this, &call, admitted = std::move(*admitted),
                                 injection = std::move(injection)]() mutable {
                                  InjectNow(call, std::move(admitted), std::move(injection));
                                });
                  });
}

void CredentialsService::InjectNow(Call& call, Admitted admitted, custody::Injection injection) {
  auto answer = [&call](Result<crypto::SecretBytes> injected) {
    if (!injected) return call.Refuse(injected.error());
    Take(call, [&] { call.Answer(WriteInjectResponse(std::move(*injected))); });
  };
  Take(call, [&] {
    custody::Inject(std::move(admitted.permit), std::move(injection), admitted.caller, store_,
                    keyring_, edge_.GetTrail(), std::move(answer));
  });
}

void CredentialsService::Encrypt(Call& call) {
  edge_.Serve<v1::EncryptRequest, v1::EncryptResponse>(
      call, workers_, [this](Admitted& admitted, const auto& asked, auto& answer) -> Result<void> {
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

void CredentialsService::List(Call& call) {
  edge_.Serve<v1::ListRequest, v1::ListResponse>(
      call, workers_, [this](Admitted& admitted, const auto& asked, auto& answer) -> Result<void> {
        const access::Scope& where = admitted.permit.Where();
        auto page = store_.List<storage::Credentials>(
            where.project, where.component, asked.page_token(), asked.page_size(),
            storage::IfDamaged::kPassOver);
        if (!page) return Fail(std::move(page));
        for (const auto& stored : page->rows) Write(stored, *answer.add_credentials());
        // Whose they are nobody knows, but that there are some is told.
        for (std::uint64_t i = 0; i < page->damaged; ++i) {
          answer.add_credentials()->set_damaged(true);
        }
        answer.set_next_page_token(page->next);
        return {};
      });
}

void CredentialsService::Delete(Call& call) {
  edge_.Serve<v1::DeleteRequest, v1::DeleteResponse>(
      call, workers_, [this](Admitted& admitted, const auto& asked, auto&) -> Result<void> {
        auto id = OauthId::Parse(asked.id());
        if (!id) return Fail(std::move(id));
        return custody::Delete(admitted.permit, *id, admitted.ForCommit(), store_);
      });
}

void CredentialsService::ListVersions(Call& call) {
  edge_.Serve<v1::ListVersionsRequest, v1::ListVersionsResponse>(
      call, workers_, [this](Admitted& admitted, const auto& asked, auto& answer) -> Result<void> {
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

void CredentialsService::RollBack(Call& call) {
  edge_.Serve<v1::RollBackRequest, v1::CredentialsInfo>(
      call, workers_, [this](Admitted& admitted, const auto& asked, auto& answer) -> Result<void> {
        auto id = OauthId::Parse(asked.id());
        if (!id) return Fail(std::move(id));
        auto rolled_back = custody::RollBack(admitted.permit, *id, asked.version(), kept_versions_,
                                             admitted.ForCommit(), store_);
        if (!rolled_back) return Fail(std::move(rolled_back));
        Write(*rolled_back, answer);
        return {};
      });
}

void CredentialsService::Prune(Call& call) {
  edge_.Serve<v1::PruneRequest, v1::PruneResponse>(
      call, workers_, [this](Admitted& admitted, const auto& asked, auto& answer) -> Result<void> {
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
