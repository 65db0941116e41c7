#pragma once

#include <chrono>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "crypto/error.h"

namespace oauthvault::client {

/// What the fake answers to one method.
struct Answer {
  /// Serialised messages: one for a plain call, any number for a stream.
  std::vector<std::string> messages;
  /// Fails with this code in the metadata, as the daemon does.
  std::optional<Code> code = {};
  /// Fails with this status of gRPC; 0: none.
  int status = 0;
  std::string text = {};
  /// Waits before it answers.
  std::chrono::milliseconds delay{0};
};

/// Answers any call of the contract with what a test has set, byte for byte, and keeps what it was
/// asked. Over a unix socket, or over mutual TLS on a free loopback port with one self-signed
/// certificate for all. It knows nothing of vaults: what it says is up to the test.
class FakeVault {
 public:
  /// Whether the TLS door asks for a certificate.
  enum class ClientCertificate : bool { kAsked, kNotAsked };

  explicit FakeVault(std::filesystem::path socket);
  /// `pem` holds certificate and key, as MakeIdentity writes them.
  FakeVault(const std::filesystem::path& identity, ClientCertificate client_certificate);
  ~FakeVault();
  FakeVault(const FakeVault&) = delete;
  FakeVault& operator=(const FakeVault&) = delete;

  /// `method` is `Registry/GetProject`. A method without an answer is UNIMPLEMENTED.
  void Set(const std::string& method, Answer answer);
  /// One answer for each call, in order; the last one stays.
  void SetInTurn(const std::string& method, std::vector<Answer> answers);
  /// The serialised requests that came, in order.
  std::vector<std::string> Requests(const std::string& method) const;
  /// The `x-request-id` of the last call.
  std::string LastRequestId() const;
  /// How long the last call might have taken.
  std::chrono::seconds LastTimeout() const;

  void Start();
  void Stop();
  int Port() const;

 private:
  struct Server;
  std::unique_ptr<Server> server_;
};

/// Writes a self-signed certificate for these names, its key, and itself as the CA into a folder:
/// cert.pem, key.pem, ca.pem.
void MakeIdentity(const std::filesystem::path& folder,
                  const char* names = "DNS:localhost,IP:127.0.0.1");

}  // namespace oauthvault::client
