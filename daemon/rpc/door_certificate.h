#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "crypto/error.h"
#include "daemon/audit/trail.h"
#include "daemon/registry/authority.h"
#include "daemon/registry/server_pair.h"
#include "daemon/rpc/tls_credentials.h"

namespace oauthvault::rpc {

/// Certificates of the built-in CA for the TCP door live so long, and a new one takes their place
/// when a third of that is left.
inline constexpr std::int64_t kDoorCertificateTtlS = 90 * 24 * 3600;
inline constexpr std::int64_t kDoorCertificateRenewS = kDoorCertificateTtlS / 3;
/// An operator's own certificate is warned about when it ends so soon.
inline constexpr std::int64_t kDoorCertificateWarnS = 14 * 24 * 3600;

/// Keeps the TCP door's certificate good: the operator's, from a folder where the next one is
/// staged (CertificateFolder), or else one of the built-in CA, made anew in time. What fails
/// the check is never shown: the one before stays, and where there is none that is good, the
/// built-in CA's takes its place. Every change and every refusal has an audit line
/// (`certificate.installed`, `certificate.refused`). One thread (`door-cert`).
class DoorCertificate {
 public:
  /// Wall clock in seconds since 1970.
  using Clock = std::function<std::int64_t()>;
  /// What the door is called, and where certificates come from.
  struct Settings {
    std::vector<std::string> names;  ///< DNS names and IP addresses of the daemon
    std::string trust_domain;
    std::filesystem::path folder;  ///< the operator's; empty: the built-in CA alone
    std::chrono::milliseconds interval{1'000};  ///< between two looks
  };

  /// Shows a certificate at once, and starts to look. `authority`, `tls` and `trail` outlive it.
  /// Errors: Invalid (names; the folder is none), Unavailable.
  static Result<std::unique_ptr<DoorCertificate>> Start(
      const registry::CertificateAuthority& authority, TlsCredentials& tls, audit::Trail& trail,
      Settings settings, Clock clock);
  ~DoorCertificate();

  /// When the certificate that is shown now ends, in seconds since 1970. Threads: any.
  std::int64_t ExpiresAtS() const { return expires_at_s_; }

 private:
  DoorCertificate(const registry::CertificateAuthority& authority, TlsCredentials& tls,
                  audit::Trail& trail, Settings settings, Clock clock);
  void Run();
  void Look();
  void Show(registry::ServerIdentity identity, bool built_in);
  Result<void> ShowBuiltIn();
  void Refused(const Error& why);
  void Record(const char* act, const std::string& object, const Error* why);

  const registry::CertificateAuthority& authority_;
  TlsCredentials& tls_;
  audit::Trail& trail_;
  const Settings settings_;
  const Clock clock_;
  // The thread's own, after Start.
  std::optional<registry::CertificateFolder> folder_;
  bool built_in_ = false;
  bool warned_ = false;
  std::atomic<std::int64_t> expires_at_s_ = 0;  // read by others, too
  std::mutex guard_;  // guards stopping_
  std::condition_variable wake_;
  bool stopping_ = false;
  std::thread thread_;  // the last member: it uses the others
};

}  // namespace oauthvault::rpc
