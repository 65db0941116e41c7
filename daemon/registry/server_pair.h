#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "crypto/error.h"
#include "daemon/registry/authority.h"

namespace oauthvault::registry {

/// Limits of an operator's own server certificate.
inline constexpr std::size_t kMaxServerPairFileSize = 64 * 1024;
inline constexpr std::size_t kMaxServerChain = 8;

/// Checks a server certificate with its intermediates, leaf first, and its key: they belong
/// together, each certificate is signed by the next, the leaf is valid now, is no CA's, is for
/// servers where it says what for, names every one of `names`, and has an accepted key. Whether
/// clients believe its CA is theirs to know. Errors: Invalid, with the reason.
Result<ServerIdentity> CheckServerPair(std::string_view chain_pem, PrivateKeyPem key,
                                       const std::vector<std::string>& names, std::int64_t now_s);

/// The folder of an operator's own server certificate:
///
///   staging/   where the operator puts `cert.pem` (leaf first) and `key.pem` (mode 0600)
///   current    a link to the folder of the pair in force, `pair-<n>`
///
/// What is staged is looked at until it does not change any more, and checked. A good pair is taken
/// by renaming its folder and then the link, so `current` is whole at every moment, nothing is
/// copied, and the daemon alone writes what it reads. A bad one stays where it is. Threads: one.
class CertificateFolder {
 public:
  /// The folder must exist; `names` as for CheckServerPair.
  CertificateFolder(std::filesystem::path folder, std::vector<std::string> names)
      : folder_(std::move(folder)), names_(std::move(names)) {}

  /// Before the first look: makes `staging` where it is missing, and puts back into it a pair that
  /// was taken when the daemon was killed, before it was in force. Errors: Unavailable.
  Result<void> Prepare();

  /// The pair in force; nullopt when there is none yet. Errors: Invalid (it does not pass the
  /// check any more), Unavailable.
  Result<std::optional<ServerIdentity>> Current(std::int64_t now_s) const;

  /// Takes what is staged, when it is whole, has not changed since the last look and was not
  /// refused before; nullopt: there is nothing to take. Errors: Invalid (refused, with the reason;
  /// told once for the same files), Unavailable.
  Result<std::optional<ServerIdentity>> Take(std::int64_t now_s);

 private:
  // What tells one state of the two staged files from another.
  using Signature = std::array<std::int64_t, 10>;
  std::optional<Signature> SignatureOf(const std::filesystem::path& pair) const;
  Result<ServerIdentity> Read(const std::filesystem::path& pair, std::int64_t now_s) const;
  Result<void> Install();
  std::vector<std::uint64_t> Numbers() const;
  std::optional<std::uint64_t> CurrentNumber() const;

  const std::filesystem::path folder_;
  const std::vector<std::string> names_;
  std::optional<Signature> seen_;
  std::optional<Signature> refused_;
};

}  // namespace oauthvault::registry
