#include "tests/daemon/rpc/vault_fixture.h"

#include <gtest/gtest.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <condition_variable>
#include <cstdlib>
#include <iostream>
#include <mutex>
#include <utility>

#include "crypto/slots.h"
#include "daemon/audit/trail_file.h"
#include "daemon/custody/store.h"
#include "daemon/registry/components.h"
#include "daemon/registry/projects.h"
#include "daemon/rivery/catalogue.h"
#include "daemon/rivery/propagation.h"
#include "daemon/rpc/access_rules.h"
#include "daemon/rpc/accounts_service.h"
#include "daemon/rpc/attempts_service.h"
#include "daemon/rpc/audit_service.h"
#include "daemon/rpc/tokens_service.h"
#include "daemon/rpc/connections_service.h"
#include "daemon/rpc/credentials_service.h"
#include "daemon/rpc/door_certificate.h"
#include "daemon/rpc/operations_service.h"
#include "daemon/rpc/peer.h"
#include "daemon/rpc/registry_service.h"
#include "daemon/rpc/status.h"
#include "daemon/rpc/tls_credentials.h"
#include "daemon/rpc/trust_service.h"
#include "storage/tables/ledger.h"
#include "tests/daemon/acts.h"
#include "tests/fakes/rivery/standin.h"

namespace oauthvault::rpc {
namespace {

class Prepared : public testing::Environment {
 public:
  void SetUp() override { ASSERT_TRUE(crypto::Prepare().has_value()); }
};
[[maybe_unused]] const testing::Environment* const kPrepared =
    testing::AddGlobalTestEnvironment(new Prepared);

// What a test's own preparations give: anything else ends it.
template <class T>
T Must(Result<T> result) {
  if (!result) {
    std::cerr << "the fixture failed: " << result.error().Message() << '\n';
    std::abort();
  }
  if constexpr (!std::is_void_v<T>) return std::move(*result);
}

std::int64_t NowS() {
  return std::chrono::duration_cast<std::chrono::seconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

access::Principal PrincipalOf(std::string_view path) {
  if (path == "local/admin") return access::Principal::LocalAdmin();
  return Must(access::Principal::Parse(
      "spiffe://" + std::string(kTrustDomain) + "/" + std::string(path), kTrustDomain));
}

// A permit for the preparations, which no grant in force is asked for.
access::Permit PermitFor(access::Right right, std::string_view project,
                         std::string_view component) {
  const access::Principal who = access::Principal::LocalAdmin();
  const access::GrantTable table(
      {{who.Str(), std::string(project), std::string(component), {right}}});
  return Must(access::Decide(who, right,
                             {std::string(project), std::string(component)}, table));
}

using Key = std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)>;
using Certificate = std::unique_ptr<X509, decltype(&X509_free)>;
using Bio = std::unique_ptr<BIO, decltype(&BIO_free)>;

std::string TextOf(const Bio& bio) {
  char* bytes = nullptr;
  const long size = BIO_get_mem_data(bio.get(), &bytes);
  return std::string(bytes, static_cast<std::size_t>(size));
}

Bio MemoryOf(const std::string& text) {
  return Bio(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())), BIO_free);
}

Key ReadKey(const std::string& pem) {
  return Key(PEM_read_bio_PrivateKey(MemoryOf(pem).get(), nullptr, nullptr, nullptr),
             EVP_PKEY_free);
}

std::string CopyOf(const crypto::SecretBytes& secret) {
  return secret.Expose([](std::span<const std::uint8_t> bytes) {
    return std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  });
}

}  // namespace

std::string NewKeyPem() {
  const Key key(EVP_EC_gen("P-256"), EVP_PKEY_free);
  const Bio bio(BIO_new(BIO_s_mem()), BIO_free);
  PEM_write_bio_PrivateKey(bio.get(), key.get(), nullptr, nullptr, 0, nullptr, nullptr);
  return TextOf(bio);
}

std::string CsrOf(const std::string& key_pem) {
  const Key key = ReadKey(key_pem);
  X509_REQ* request = X509_REQ_new();
  X509_REQ_set_pubkey(request, key.get());
  X509_REQ_sign(request, key.get(), EVP_sha256());
  const Bio bio(BIO_new(BIO_s_mem()), BIO_free);
  PEM_write_bio_X509_REQ(bio.get(), request);
  X509_REQ_free(request);
  return TextOf(bio);
}

ClientIdentity Forge(const registry::CertificateAuthority::Material& authority,
                     const std::vector<std::string>& uris) {
  const Certificate root(
      PEM_read_bio_X509(MemoryOf(authority.certificate_pem).get(), nullptr, nullptr, nullptr),
      X509_free);
  const Key root_key = ReadKey(CopyOf(authority.key.Bytes()));
  ClientIdentity identity;
  identity.key_pem = NewKeyPem();
  const Key key = ReadKey(identity.key_pem);

  const Certificate leaf(X509_new(), X509_free);
  X509_set_version(leaf.get(), 2);
  ASN1_INTEGER_set_uint64(X509_get_serialNumber(leaf.get()), 0x0102030405060708);
  X509_gmtime_adj(X509_getm_notBefore(leaf.get()), -60);
  X509_gmtime_adj(X509_getm_notAfter(leaf.get()), 3600);
  X509_set_issuer_name(leaf.get(), X509_get_subject_name(root.get()));
  X509_set_pubkey(leaf.get(), key.get());
  std::vector<std::pair<int, std::string>> extensions = {
      {NID_basic_constraints, "critical,CA:FALSE"},
      {NID_key_usage, "critical,digitalSignature"},
      {NID_ext_key_usage, "clientAuth"}};
  std::string names;
  for (const std::string& uri : uris) names += (names.empty() ? "URI:" : ",URI:") + uri;
  if (!names.empty()) extensions.emplace_back(NID_subject_alt_name, "critical," + names);
  for (const auto& [nid, value] : extensions) {
    X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, nullptr, nid, value.c_str());
    X509_add_ext(leaf.get(), extension, -1);
    X509_EXTENSION_free(extension);
  }
  X509_sign(leaf.get(), root_key.get(), EVP_sha256());
  const Bio bio(BIO_new(BIO_s_mem()), BIO_free);
  PEM_write_bio_X509(bio.get(), leaf.get());
  identity.certificate_pem = TextOf(bio);
  return identity;
}

registry::CertificateAuthority::Material NewAuthority() {
  return Must(registry::CertificateAuthority::Generate(kTrustDomain, NowS()));
}

struct Vault::Parts {
  storage::TemporaryFolder folder;
  std::unique_ptr<fakes::StandIn> vendor;  // from the first attempt on
  InterruptedEngine engine;
  registry::CertificateAuthority::Material authority;
  std::unique_ptr<AccessRules> rules;
  std::unique_ptr<crypto::Keyring> keyring;
  std::unique_ptr<storage::Store> store;
  Corks corks;
  std::unique_ptr<audit::Trail> trail;
  std::unique_ptr<storage::Ledger> ledger;
  std::unique_ptr<registry::Grants> grants;
  std::unique_ptr<registry::Identities> identities;
  std::unique_ptr<registry::Tokens> tokens;
  std::unique_ptr<registry::Trusts> trusts;
  std::unique_ptr<rivery::Client> client;
  rivery::Rate rate{100'000};  // no test of the edge waits for it
  std::unique_ptr<rivery::Attempts> attempts;
  std::unique_ptr<rivery::Connections> connections;
  std::unique_ptr<rivery::Propagation> propagation;
  std::unique_ptr<custody::Changes> changes;
  std::unique_ptr<rivery::Catalogue> catalogue;
  std::unique_ptr<Peers> peers;
  Counters counters;
  metrics::Calls calls;
  std::unique_ptr<Concurrency> concurrency;
  std::unique_ptr<Edge> edge;
  std::unique_ptr<Workers> call_workers;
  std::unique_ptr<Workers> rivery_workers;
  std::unique_ptr<Workers> upkeep_workers;
  std::unique_ptr<upkeep::Rewrapper> rewrapper;
  upkeep::LastCheck last_check;
  std::mutex alone;
  std::unique_ptr<Ticker> ticker;
  DaemonFacts facts;
  std::vector<std::shared_ptr<void>> services;
  TlsCredentials tls;
  std::unique_ptr<DoorCertificate> door_certificate;
  std::unique_ptr<Server> server;
};

Vault::Vault(Settings settings) : parts_(std::make_unique<Parts>()) {
  Parts& p = *parts_;
  const auto now_s = [this] { return NowS() + clock_ahead_s; };
  p.rules = std::make_unique<AccessRules>(Must(AccessRules::FromContract(ContractServices())));
  p.keyring = Must(crypto::Keyring::Create(p.folder.Path() / "keys", crypto::NewSlotSecret(),
                                           "key file"));
  audit::FileCalls calls = audit::FileCalls::System();
  calls.write = [this, write = calls.write](int file, const void* bytes, std::size_t size) {
    if (before_write) before_write();
    if (disk_full) {
      errno = ENOSPC;
      return ssize_t{-1};
    }
    return write(file, bytes, size);
  };
  std::filesystem::create_directory(p.folder.Path() / "audit");
  // The matrix looks at each denial's own line.
  constexpr audit::TrailLimits kEveryDenial{.denial_burst = 1'000'000};
  p.trail = Must(audit::Trail::Open(p.folder.Path() / "audit", p.keyring->AuditKey(),
                                    [now_s] { return now_s() * 1'000'000; }, calls,
                                    &kEveryDenial));
  p.trail->CallBackWithin([&p](const auto& call_back) { p.corks.Around(call_back); });
  p.ledger = std::make_unique<storage::Ledger>(*p.keyring, audit::RecorderOf(*p.trail));
  p.engine.Rows().SetWitness(p.ledger.get());
  p.store = std::make_unique<storage::Store>(p.engine, *p.keyring);
  // As CreateAuthority does, keeping the key: some tests are a CA that went astray.
  p.authority = NewAuthority();
  storage::Secrets secrets;
  secrets.data = p.authority.key.Bytes().Clone();
  storage::Batch batch(fakes::SetupAct());
  batch.Insert(storage::Authority{kTrustDomain, p.authority.certificate_pem, NowS()},
               std::move(secrets));
  Must(p.store->Commit(std::move(batch)));

  p.grants = Must(registry::Grants::Load(*p.store));
  p.identities = Must(registry::Identities::Load(*p.store, kTrustDomain));
  p.trusts = Must(registry::Trusts::Load(*p.store, kTrustDomain, p.identities->Authority()));

  const rivery::Reach reach{true, false};
  p.client = std::make_unique<rivery::Client>(rivery::DefaultRoutes(), rivery::Limits{}, reach);
  rivery::AttemptSettings attempt_settings;
  attempt_settings.poll_interval = std::chrono::milliseconds(20);
  const auto read_principal = [&p](std::string_view text) {
    return p.trusts->InForce()->PrincipalOf(text);
  };
  p.attempts = std::make_unique<rivery::Attempts>(*p.client, p.rate, *p.store, *p.grants,
                                                  *p.trail, read_principal, attempt_settings,
                                                  now_s);
  p.connections = std::make_unique<rivery::Connections>(*p.client, p.rate, *p.store, *p.trail);
  p.propagation = std::make_unique<rivery::Propagation>(
      *p.connections, *p.store, *p.grants, read_principal, rivery::PropagationSettings{}, now_s);
  p.changes = std::make_unique<custody::Changes>(*p.store);
  p.catalogue =
      std::make_unique<rivery::Catalogue>(*p.client, p.rate, rivery::Catalogue::Settings{});
  p.peers = std::make_unique<Peers>(*p.identities, *p.trusts, now_s);
  p.concurrency = std::make_unique<Concurrency>(
      Concurrency::Limits{settings.max_calls, settings.max_calls_per_principal},
      p.counters.calls);
  p.edge = std::make_unique<Edge>(*p.peers, *p.grants, *p.store, *p.trail,
                                  *p.concurrency, p.counters.calls, now_s);
  p.call_workers = std::make_unique<Workers>("calls", settings.call_threads, settings.call_queue);
  p.rivery_workers = std::make_unique<Workers>("rivery-calls", 1, 8);
  p.upkeep_workers = std::make_unique<Workers>("upkeep", 1, 4);
  p.rewrapper = std::make_unique<upkeep::Rewrapper>(*p.store, *p.keyring, now_s);
  p.ticker = std::make_unique<Ticker>(settings.tick);

  Descriptor tcp = Must(ListenTcp("127.0.0.1:0"));
  Descriptor unix_socket = Must(ListenUnix(Socket()));
  p.facts = {"0.0.1-test", kTrustDomain, BoundAddress(tcp), NowS()};
  Methods methods(*p.rules);
  const auto serve = [&](auto service) {
    service->AddTo(methods);
    p.services.push_back(std::move(service));
  };
  serve(std::make_unique<RegistryService>(*p.edge, *p.call_workers, *p.keyring, *p.store,
                                          *p.grants, *p.identities, *p.trusts));
  serve(std::make_unique<TrustService>(*p.edge, *p.call_workers, *p.store, *p.trusts));
  serve(std::make_unique<CredentialsService>(*p.edge, *p.call_workers, *p.keyring, *p.store,
                                             custody::KeptVersions{}, *p.changes, *p.ticker));
  serve(std::make_unique<AccountsService>(*p.edge, *p.call_workers, *p.rivery_workers, *p.store,
                                          *p.client, p.rate, *p.catalogue, reach));
  serve(std::make_unique<AttemptsService>(*p.edge, *p.call_workers, *p.rivery_workers, *p.store,
                                          *p.attempts, *p.catalogue, *p.ticker));
  serve(std::make_unique<ConnectionsService>(*p.edge, *p.call_workers, *p.rivery_workers,
                                             *p.store, *p.connections, *p.propagation));
  serve(std::make_unique<OperationsService>(
      *p.edge, *p.call_workers, *p.upkeep_workers,
      OperationsService::Parts{*p.keyring, *p.store, *p.grants, *p.rewrapper, p.last_check,
                               p.alone, p.counters},
      p.facts, [this] { ++sealings; }));
  serve(std::make_unique<AuditService>(*p.edge, *p.call_workers, *p.store));
  p.tokens = std::make_unique<registry::Tokens>(*p.store, *p.keyring);
  serve(std::make_unique<TokensService>(*p.edge, *p.call_workers, *p.store, *p.tokens));
  const auto let_in = [&p] { p.tls.LetIn(p.trusts->InForce()->RootsPem()); };
  let_in();
  p.trusts->OnSwap(let_in);
  p.door_certificate = Must(DoorCertificate::Start(
      p.identities->Authority(), p.tls, *p.trail,
      {{"localhost", "127.0.0.1"}, kTrustDomain, settings.certificate_folder,
       std::chrono::milliseconds(20)},
      now_s));
  p.server = Must(Server::Start(std::move(tcp), std::move(unix_socket), p.tls,
                                std::move(methods),
                                {settings.max_connections, settings.handshake_timeout,
                                 settings.max_connections_per_address, settings.max_handshakes,
                                 &p.calls, &p.corks, settings.receive_memory},
                                p.counters));

  AddProject(kProject);
  AddComponent(kComponent);
}

Vault::~Vault() = default;

InterruptedEngine& Vault::Engine() { return parts_->engine; }
storage::Store& Vault::Store() { return *parts_->store; }
audit::Trail& Vault::Trail() { return *parts_->trail; }
custody::Changes& Vault::Changes() { return *parts_->changes; }
rivery::Attempts& Vault::Attempts() { return *parts_->attempts; }
registry::Identities& Vault::Identities() { return *parts_->identities; }
std::string Vault::ShownPem() const { return parts_->tls.ShownPem(); }
registry::Trusts& Vault::Trusts() { return *parts_->trusts; }
Workers& Vault::CallWorkers() { return *parts_->call_workers; }
const Corks& Vault::GetCorks() const { return parts_->corks; }
const Counters& Vault::GetCounters() const { return parts_->counters; }
std::string Vault::CountedCalls() const {
  metrics::Exposition out;
  parts_->calls.Write(out);
  return std::move(out).Take();
}
Server& Vault::TheServer() { return *parts_->server; }
const std::filesystem::path& Vault::Folder() const { return parts_->folder.Path(); }
const std::string& Vault::Address() const { return parts_->facts.address; }
std::filesystem::path Vault::Socket() const { return parts_->folder.Path() / "admin.sock"; }
const registry::CertificateAuthority::Material& Vault::Authority() const {
  return parts_->authority;
}

void Vault::AddProject(std::string_view id) {
  Must(registry::AddProject(*parts_->keyring, *parts_->store, Must(ProjectId::Parse(id)), "",
                            fakes::ActBy("local/admin"), NowS()));
}

void Vault::AddComponent(std::string_view id, std::string_view app_secret) {
  registry::ComponentFields fields;
  fields.app_key = "component-key";
  if (!app_secret.empty()) {
    fields.app_secret = crypto::AppSecret(crypto::SecretBytes::CopyOf(app_secret));
  }
  fields.token_url = "https://provider.test/token";
  fields.rivery_datasource_id = "gspreadsheet";
  fields.rivery_connection_type = "gspreadsheet";
  Must(registry::SetComponent(*parts_->store, Must(ComponentId::Parse(id)), std::move(fields),
                              registry::IfRegistered::kRefuse, fakes::ActBy("local/admin"),
                              NowS()));
}

void Vault::Grant(std::string_view path, std::string_view project, std::string_view component,
                  const std::vector<access::Right>& rights) {
  Must(parts_->grants->Add(PrincipalOf(path), project, component, rights,
                           fakes::ActBy("local/admin"), NowS()));
}

void Vault::RemoveGrant(std::string_view path, std::string_view project,
                        std::string_view component) {
  Must(parts_->grants->Remove(PrincipalOf(path), std::string(project), std::string(component),
                              fakes::ActBy("local/admin")));
}

void Vault::PutCredentials(std::string_view project, std::string_view component,
                           std::string_view id, std::string_view data) {
  custody::NewCredentials credentials{Must(OauthId::Parse(id))};
  credentials.data = crypto::CredentialsData(crypto::SecretBytes::CopyOf(data));
  Must(custody::Put(PermitFor(access::Right::kStore, project, component), std::move(credentials),
                    custody::IfThere::kReplace, custody::KeptVersions{}, fakes::SetupAct(),
                    *parts_->store, NowS()));
}

std::string Vault::StartAttempt(std::string_view project, std::string_view component) {
  const AccountId account = Must(AccountId::Parse("main"));
  auto standing = Must(
      parts_->store->Find<storage::Account>(storage::Account::Names(account)));
  if (!standing) {
    parts_->vendor = Must(fakes::StandIn::Start({.tokens = {{.token = "api-token"}}}));
    storage::Secrets secrets;
    secrets.data = crypto::SecretBytes::CopyOf("api-token");
    storage::Batch batch(fakes::SetupAct());
    batch.Insert(
        storage::Account{account, parts_->vendor->BaseUrl(), {"*"}, NowS(), "local/admin"},
        std::move(secrets));
    Must(parts_->store->Commit(std::move(batch)));
  }
  return Must(parts_->attempts->Authorize(
                  PermitFor(access::Right::kStore, project, component), std::nullopt,
                  rivery::Order{account, Must(OauthId::Parse("main"))}, fakes::SetupAct()))
      .row.id.Str();
}

void Vault::Consent(std::string_view project, std::string_view component,
                    const std::string& id) {
  const auto link = Must(parts_->attempts->GetLink(
      PermitFor(access::Right::kStore, project, component), Must(AttemptId::Parse(id))));
  EXPECT_TRUE(parts_->vendor->Click(CopyOf(link.auth_uri), fakes::Decision::kAllow));
}

void Vault::CancelAttempt(std::string_view project, std::string_view component,
                          const std::string& id) {
  Must(parts_->attempts->Cancel(PermitFor(access::Right::kStore, project, component),
                                Must(AttemptId::Parse(id)), fakes::SetupAct()));
}

ClientIdentity Vault::Issue(std::string_view path, std::int64_t ttl_s) {
  ClientIdentity identity;
  identity.key_pem = NewKeyPem();
  auto issued = Must(parts_->identities->Issue(path, CsrOf(identity.key_pem), ttl_s,
                                               fakes::ActBy("local/admin"), NowS()));
  identity.certificate_pem = issued.certificate_pem;
  identity.serial = issued.identity.row.serial;
  return identity;
}

namespace {

std::shared_ptr<grpc::Channel> ChannelTo(
    const std::string& target, const std::shared_ptr<grpc::ChannelCredentials>& credentials) {
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 100);
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 100);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 200);
  return grpc::CreateCustomChannel(target, credentials, arguments);
}

}  // namespace

std::shared_ptr<grpc::Channel> Vault::Tcp(const ClientIdentity& identity) {
  return ChannelTo(Address(), grpc::SslCredentials(
                                  {CaPem(), identity.key_pem, identity.certificate_pem}));
}

std::shared_ptr<grpc::Channel> Vault::Unix() {
  return ChannelTo("unix:" + Socket().string(), grpc::experimental::LocalCredentials(UDS));
}

std::vector<std::string> Vault::LinesAfter(std::uint64_t after) {
  std::vector<std::string> lines;
  for (audit::Line& line : Must(parts_->trail->Show(after, audit::kMaxShownLines))) {
    lines.push_back(std::move(line.json));
  }
  return lines;
}

std::unique_ptr<grpc::ClientContext> NewContext() {
  auto context = std::make_unique<grpc::ClientContext>();
  context->set_deadline(std::chrono::system_clock::now() + kPatience);
  return context;
}

namespace {

RawAnswer AnswerOf(const grpc::Status& status, const grpc::ByteBuffer& answered,
                   const grpc::ClientContext& context) {
  RawAnswer answer;
  answer.status = status;
  std::vector<grpc::Slice> slices;
  if (answered.Valid() && answered.Dump(&slices).ok()) {
    for (const grpc::Slice& each : slices) {
      answer.bytes.append(reinterpret_cast<const char*>(each.begin()), each.size());
    }
  }
  const auto& trailing = context.GetServerTrailingMetadata();
  const auto code = trailing.find(kCodeKey);
  if (code != trailing.end()) answer.code.assign(code->second.data(), code->second.size());
  return answer;
}

}  // namespace

RawAnswer CallRaw(const std::shared_ptr<grpc::Channel>& channel, const std::string& method,
                  const std::string& request) {
  grpc::GenericStub stub(channel);
  const auto context = NewContext();
  const grpc::Slice slice(request);
  const grpc::ByteBuffer asked(&slice, 1);
  grpc::ByteBuffer answered;
  std::mutex guard;
  std::condition_variable ended;
  std::optional<grpc::Status> status;
  stub.UnaryCall(context.get(), method, grpc::StubOptions{}, &asked, &answered,
                 [&](grpc::Status end) {
                   const std::lock_guard lock(guard);
                   status = std::move(end);
                   ended.notify_one();
                 });
  std::unique_lock lock(guard);
  ended.wait(lock, [&] { return status.has_value(); });
  return AnswerOf(*status, answered, *context);
}

RawAnswer BeginRaw(const std::shared_ptr<grpc::Channel>& channel, const std::string& method,
                   const std::string& request) {
  grpc::GenericStub stub(channel);
  const auto context = NewContext();
  grpc::CompletionQueue queue;
  const auto next = [&queue] {
    void* tag = nullptr;
    bool ok = false;
    return queue.Next(&tag, &ok) && ok;
  };
  const auto call = stub.PrepareCall(context.get(), method, &queue);
  call->StartCall(nullptr);
  next();
  const grpc::Slice slice(request);
  call->WriteLast(grpc::ByteBuffer(&slice, 1), grpc::WriteOptions(), nullptr);
  next();
  grpc::ByteBuffer answered;
  call->Read(&answered, nullptr);
  if (next()) context->TryCancel();
  grpc::Status status;
  call->Finish(&status, nullptr);
  next();
  return AnswerOf(status, answered, *context);
}

Revealed Reveal(const std::shared_ptr<grpc::Channel>& channel, std::string_view id) {
  v1::RevealRequest request;
  request.set_project(kProject);
  request.set_component(kComponent);
  request.set_id(std::string(id));
  Revealed revealed;
  revealed.status =
      v1::Credentials::NewStub(channel)->Reveal(NewContext().get(), request, &revealed.response);
  return revealed;
}

grpc::Status Ask(const std::shared_ptr<grpc::Channel>& channel) {
  v1::StatusResponse response;
  return v1::Operations::NewStub(channel)->Status(NewContext().get(), {}, &response);
}

}  // namespace oauthvault::rpc
