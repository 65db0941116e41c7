#pragma once

#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "crypto/keyring.h"
#include "daemon/audit/trail.h"
#include "daemon/custody/changes.h"
#include "daemon/registry/grants.h"
#include "daemon/registry/identities.h"
#include "daemon/registry/trust.h"
#include "daemon/rivery/attempts.h"
#include "daemon/rivery/connections.h"
#include "daemon/rpc/server.h"
#include "daemon/rpc/ticker.h"
#include "daemon/rpc/workers.h"
#include "oauthvault/v1/attempts.grpc.pb.h"
#include "oauthvault/v1/audit.grpc.pb.h"
#include "oauthvault/v1/credentials.grpc.pb.h"
#include "oauthvault/v1/operations.grpc.pb.h"
#include "oauthvault/v1/registry.grpc.pb.h"
#include "oauthvault/v1/trust.grpc.pb.h"
#include "tests/storage/memory_engine.h"
#include "tests/storage/temporary_folder.h"

namespace oauthvault::rpc {

/// The trust domain of the tests' vaults.
inline constexpr char kTrustDomain[] = "vault.test";
/// The pair that most tests are about; every vault of the tests has it registered.
inline constexpr char kProject[] = "p1";
inline constexpr char kComponent[] = "acme.ex-drive";
/// No call of a test takes so long; a test that waits for this has failed.
inline constexpr std::chrono::seconds kPatience{20};

/// The engine in memory, with a word in before each answer: what a test does there happens after
/// the rows were read and before the caller has them.
class InterruptedEngine final : public storage::Engine {
 public:
  std::function<void()> after_read;  ///< set only while nobody calls

  Result<std::vector<std::optional<crypto::SealedRow>>> Read(
      std::span<const crypto::RowKey> keys) const override {
    auto rows = rows_.Read(keys);
    if (after_read) after_read();
    return rows;
  }
  Result<std::vector<storage::KeyedRow>> Scan(std::span<const std::uint8_t> prefix,
                                              const std::optional<crypto::RowKey>& after,
                                              std::size_t limit) const override {
    return rows_.Scan(prefix, after, limit);
  }
  Result<std::vector<crypto::RowKey>> ScanKeys(std::span<const std::uint8_t> prefix,
                                               const std::optional<crypto::RowKey>& after,
                                               std::size_t limit) const override {
    return rows_.ScanKeys(prefix, after, limit);
  }
  Result<std::uint64_t> Commit(std::vector<storage::Change> changes, std::string act) override {
    return rows_.Commit(std::move(changes), std::move(act));
  }
  Result<void> CopyTo(const std::filesystem::path& folder) const override {
    return rows_.CopyTo(folder);
  }
  std::uint64_t Generation() const override { return rows_.Generation(); }
  Result<storage::Fill> GetFill() const override { return rows_.GetFill(); }
  std::uint64_t ReadCount() const override { return rows_.ReadCount(); }
  fakes::MemoryEngine& Rows() { return rows_; }

 private:
  fakes::MemoryEngine rows_;
};

/// What a client shows at the TCP door.
struct ClientIdentity {
  std::string certificate_pem;
  std::string key_pem;
  std::string serial;
};

/// A private key (EC P-256) in PEM.
std::string NewKeyPem();
/// A PKCS #10 request for that key.
std::string CsrOf(const std::string& key_pem);
/// A client certificate as no honest CA would give it: these URI names, signed with that CA's key.
ClientIdentity Forge(const registry::CertificateAuthority::Material& authority,
                     const std::vector<std::string>& uris);
registry::CertificateAuthority::Material NewAuthority();

/// A whole daemon in this process, made as main.cc makes it, over an engine in memory; a test that
/// wants the attempts' driver starts it. Threads: one test.
class Vault {
 public:
  struct Settings {
    std::uint32_t max_connections = 64;
    std::chrono::milliseconds handshake_timeout{5'000};
    std::chrono::milliseconds tick{10'000};
    std::size_t call_threads = 4;
    std::size_t call_queue = 64;
    std::uint32_t max_connections_per_address = 1000;
    std::uint32_t max_handshakes = 1000;
    std::uint32_t max_calls = 512;
    std::uint32_t max_calls_per_principal = 128;
    std::filesystem::path certificate_folder;
    std::size_t receive_memory = kReceiveMemory;
  };
  explicit Vault(Settings settings);
  Vault() : Vault(Settings{}) {}
  ~Vault();

  // --- the insides ---
  InterruptedEngine& Engine();
  storage::Store& Store();
  audit::Trail& Trail();
  custody::Changes& Changes();
  rivery::Attempts& Attempts();
  registry::Identities& Identities();
  registry::Trusts& Trusts();
  Workers& CallWorkers();
  Server& TheServer();
  const Corks& GetCorks() const;
  const Counters& GetCounters() const;
  /// As `/metrics` shows them.
  std::string CountedCalls() const;
  /// The daemon's clock runs so far ahead.
  std::atomic<std::int64_t> clock_ahead_s = 0;
  /// How often sealing was asked for.
  std::atomic<int> sealings = 0;
  /// While true the trail's disk is full.
  std::atomic<bool> disk_full = false;
  /// Called before each write of the trail; set only while nobody calls.
  std::function<void()> before_write;

  const std::filesystem::path& Folder() const;
  const std::string& Address() const;
  std::filesystem::path Socket() const;
  const registry::CertificateAuthority::Material& Authority() const;
  const std::string& CaPem() const { return Authority().certificate_pem; }
  /// The certificate that the TCP door shows now.
  std::string ShownPem() const;

  // --- what there is ---
  void AddProject(std::string_view id);
  void AddComponent(std::string_view id, std::string_view app_secret = "component-secret");
  /// `path` is one of the trust domain (`runner/r1`), or `local/admin`.
  void Grant(std::string_view path, std::string_view project, std::string_view component,
             const std::vector<access::Right>& rights);
  void RemoveGrant(std::string_view path, std::string_view project, std::string_view component);
  /// Credentials on the pair, with the component's own OAuth client.
  void PutCredentials(std::string_view project, std::string_view component, std::string_view id,
                      std::string_view data);
  /// An authorization that waits for the driver, on the pair. Returns its id.
  std::string StartAttempt(std::string_view project, std::string_view component);
  /// Does what a person does with the link of an attempt that is started.
  void Consent(std::string_view project, std::string_view component, const std::string& id);
  void CancelAttempt(std::string_view project, std::string_view component, const std::string& id);

  // --- clients ---
  ClientIdentity Issue(std::string_view path, std::int64_t ttl_s = 0);
  /// Every channel has a connection of its own.
  std::shared_ptr<grpc::Channel> Tcp(const ClientIdentity& identity);
  std::shared_ptr<grpc::Channel> Unix();

  /// The trail's lines with a sequence beyond `after`.
  std::vector<std::string> LinesAfter(std::uint64_t after);

 private:
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

/// A context that ends with kPatience.
std::unique_ptr<grpc::ClientContext> NewContext();

/// Calls any method with any bytes: `method` is `/oauthvault.v1.Registry/AddProject`.
struct RawAnswer {
  grpc::Status status;
  std::string bytes;
  std::string code;  ///< the trailing `oauthvault-code`
};
RawAnswer CallRaw(const std::shared_ptr<grpc::Channel>& channel, const std::string& method,
                  const std::string& request);

/// The same of a method that answers with a stream: its first message, after which it is cancelled.
RawAnswer BeginRaw(const std::shared_ptr<grpc::Channel>& channel, const std::string& method,
                   const std::string& request);

/// A reveal on kProject and kComponent.
struct Revealed {
  grpc::Status status;
  v1::RevealResponse response;
};
Revealed Reveal(const std::shared_ptr<grpc::Channel>& channel, std::string_view id);
/// Operations.Status, the call that any known caller may make.
grpc::Status Ask(const std::shared_ptr<grpc::Channel>& channel);

}  // namespace oauthvault::rpc
