#include "daemon/registry/server_pair.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <span>
#include <system_error>
#include <utility>

#include "crypto/descriptor.h"
#include "crypto/durable_file.h"
#include "crypto/sabotage.h"
#include "daemon/registry/x509.h"

namespace oauthvault::registry {
namespace {

constexpr const char* kStaging = "staging";
constexpr const char* kCurrent = "current";
constexpr const char* kNextLink = ".current-next";
constexpr std::string_view kPair = "pair-";
constexpr const char* kCertificateFile = "cert.pem";
constexpr const char* kKeyFile = "key.pem";

bool IsNamed(X509* certificate, const std::string& name) {
  std::array<std::uint8_t, 16> address{};
  if (inet_pton(AF_INET, name.c_str(), address.data()) == 1 ||
      inet_pton(AF_INET6, name.c_str(), address.data()) == 1) {
    return X509_check_ip_asc(certificate, name.c_str(), 0) == 1;
  }
  return X509_check_host(certificate, name.data(), name.size(),
                         X509_CHECK_FLAG_NEVER_CHECK_SUBJECT, nullptr) == 1;
}

// Makes a file's content, or a folder's entries, durable.
bool Sync(const std::filesystem::path& path) {
  const crypto::Descriptor file(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  return file && fsync(file.Get()) == 0;
}

std::string TextOf(const crypto::SecretBytes& content) {
  return content.Expose([](std::span<const std::uint8_t> bytes) {
    return std::string(bytes.begin(), bytes.end());
  });
}

Error CannotChange(const std::filesystem::path& path) {
  return Error(Code::kUnavailable, "the folder of the server's certificate cannot be changed",
               Subject::Path(path.string()));
}

Result<void> CheckLeaf(X509* leaf, std::int64_t now_s) {
  const std::uint32_t flags = X509_get_extension_flags(leaf);
  if ((flags & EXFLAG_INVALID) != 0 || (flags & EXFLAG_CA) != 0) {
    return Fail(Code::kInvalid, "the server's certificate is that of a CA, or does not parse");
  }
  if ((flags & EXFLAG_XKUSAGE) != 0 && (X509_get_extended_key_usage(leaf) & XKU_SSL_SERVER) == 0) {
    return Fail(Code::kInvalid, "the server's certificate is not for servers");
  }
  const auto begin_s = ToSeconds(X509_get0_notBefore(leaf));
  const auto end_s = ToSeconds(X509_get0_notAfter(leaf));
  if (!begin_s || !end_s || *begin_s > now_s) {
    return Fail(Code::kInvalid, "the server's certificate is not valid yet");
  }
  if (*end_s <= now_s) return Fail(Code::kInvalid, "the server's certificate has expired");
  return {};
}

}  // namespace

Result<ServerIdentity> CheckServerPair(std::string_view chain_pem, PrivateKeyPem key,
                                       const std::vector<std::string>& names,
                                       std::int64_t now_s) {
  const QuietErrors quiet;
  const std::vector<Certificate> chain = ReadCertificates(chain_pem, kMaxServerChain);
  if (chain.empty()) {
    return Fail(Code::kInvalid, "the server's certificate is not 1 to 8 PEM certificates");
  }
  X509* leaf = chain.front().get();
  const Key own_key = ReadKey(key.Bytes());
  if (!own_key) return Fail(Code::kInvalid, "the server's key is no PEM key without a passphrase");
  if (X509_check_private_key(leaf, own_key.get()) != 1) {
    return Fail(Code::kInvalid, "the server's certificate and key do not belong together");
  }
  if (!IsAcceptedKey(own_key.get())) {
    return Fail(Code::kInvalid, "the server's key is too weak or of an unknown kind");
  }
  if (auto good = CheckLeaf(leaf, now_s); !good) return Fail(std::move(good));
  for (std::size_t i = 0; i + 1 < chain.size(); ++i) {
    X509* issuer = chain[i + 1].get();
    EVP_PKEY* issuer_key = X509_get0_pubkey(issuer);
    if (X509_check_issued(issuer, chain[i].get()) != X509_V_OK || issuer_key == nullptr ||
        X509_verify(chain[i].get(), issuer_key) != 1) {
      return Fail(Code::kInvalid, "a certificate of the server's chain is not signed by the next",
                  Subject::Number(static_cast<std::int64_t>(i)));
    }
  }
  for (const std::string& name : names) {
    if (!IsNamed(leaf, name)) {
      return Fail(Code::kInvalid, "the server's certificate lacks a name of the daemon",
                  Subject::Path(name));
    }
  }
  ServerIdentity identity;
  for (const Certificate& one : chain) identity.certificate_pem += WriteCertificate(one.get());
  identity.key = std::move(key);
  identity.expires_at_s = ToSeconds(X509_get0_notAfter(leaf)).value_or(0);
  identity.fingerprint = FingerprintOf(leaf);
  return identity;
}

std::optional<CertificateFolder::Signature> CertificateFolder::SignatureOf(
    const std::filesystem::path& pair) const {
  Signature signature{};
  std::size_t at = 0;
  for (const char* name : {kCertificateFile, kKeyFile}) {
    struct stat status {};
    if (lstat((pair / name).c_str(), &status) != 0) return std::nullopt;
    signature[at++] = static_cast<std::int64_t>(status.st_ino);
    signature[at++] = status.st_size;
    signature[at++] = status.st_mtim.tv_sec;
    signature[at++] = status.st_mtim.tv_nsec;
    signature[at++] = status.st_mode;
  }
  return signature;
}

Result<ServerIdentity> CertificateFolder::Read(const std::filesystem::path& pair,
                                               std::int64_t now_s) const {
  auto chain = crypto::ReadFileBytes(pair / kCertificateFile, kMaxServerPairFileSize,
                                     crypto::FileAccess::kAny);
  if (!chain) return Fail(std::move(chain));
  auto key = crypto::ReadFileBytes(pair / kKeyFile, kMaxServerPairFileSize,
                                   crypto::FileAccess::kOwnerOnly);
  if (!key) return Fail(std::move(key));
  if (crypto::IsSabotaged(crypto::Sabotage::kUncheckedPair)) {
    return ServerIdentity{TextOf(*chain), PrivateKeyPem(std::move(*key)), now_s + 3600,
                          "unchecked"};
  }
  return CheckServerPair(TextOf(*chain), PrivateKeyPem(std::move(*key)), names_, now_s);
}

std::vector<std::uint64_t> CertificateFolder::Numbers() const {
  std::vector<std::uint64_t> numbers;
  std::error_code wrong;
  for (const auto& entry : std::filesystem::directory_iterator(folder_, wrong)) {
    const std::string name = entry.path().filename().string();
    if (!name.starts_with(kPair)) continue;
    std::uint64_t number = 0;
    const char* end = name.data() + name.size();
    const auto [stop, failed] = std::from_chars(name.data() + kPair.size(), end, number);
    if (failed == std::errc() && stop == end) numbers.push_back(number);
  }
  std::ranges::sort(numbers);
  return numbers;
}

std::optional<std::uint64_t> CertificateFolder::CurrentNumber() const {
  std::error_code wrong;
  const std::string target =
      std::filesystem::read_symlink(folder_ / kCurrent, wrong).filename().string();
  for (const std::uint64_t number : Numbers()) {
    if (!wrong && target == std::string(kPair) + std::to_string(number)) return number;
  }
  return std::nullopt;
}

Result<void> CertificateFolder::Prepare() {
  const std::vector<std::uint64_t> numbers = Numbers();
  const auto current = CurrentNumber();
  const bool cut_off = !numbers.empty() && (!current || numbers.back() > *current);
  if (cut_off && !SignatureOf(folder_ / kStaging)) {
    const std::string name = std::string(kPair) + std::to_string(numbers.back());
    // Takes the place of an empty folder, and of no other.
    if (rename((folder_ / name).c_str(), (folder_ / kStaging).c_str()) != 0) {
      return std::unexpected(CannotChange(folder_ / kStaging));
    }
  }
  if (mkdir((folder_ / kStaging).c_str(), 0700) != 0 && errno != EEXIST) {
    return std::unexpected(CannotChange(folder_ / kStaging));
  }
  return {};
}

Result<std::optional<ServerIdentity>> CertificateFolder::Current(std::int64_t now_s) const {
  const auto number = CurrentNumber();
  if (!number) return std::optional<ServerIdentity>();
  auto read = Read(folder_ / (std::string(kPair) + std::to_string(*number)), now_s);
  if (!read) return Fail(std::move(read));
  return std::optional<ServerIdentity>(std::move(*read));
}

Result<std::optional<ServerIdentity>> CertificateFolder::Take(std::int64_t now_s) {
  const auto signature = SignatureOf(folder_ / kStaging);
  const bool settled = signature && signature == seen_;
  seen_ = signature;
  if (!settled || signature == refused_) return std::optional<ServerIdentity>();
  auto read = Read(folder_ / kStaging, now_s);
  // What changed while it was read is read again when it has come to rest.
  if (SignatureOf(folder_ / kStaging) != signature) return std::optional<ServerIdentity>();
  if (!read) {
    refused_ = signature;
    return Fail(std::move(read));
  }
  if (auto installed = Install(); !installed) return Fail(std::move(installed));
  return std::optional<ServerIdentity>(std::move(*read));
}

Result<void> CertificateFolder::Install() {
  const std::vector<std::uint64_t> before = Numbers();
  const std::string name =
      std::string(kPair) + std::to_string(before.empty() ? 1 : before.back() + 1);
  unlink((folder_ / kNextLink).c_str());
  // In this order: the link never points at what is not there, or may be gone after a power loss.
  if (!Sync(folder_ / kStaging / kCertificateFile) || !Sync(folder_ / kStaging / kKeyFile) ||
      !Sync(folder_ / kStaging) ||
      rename((folder_ / kStaging).c_str(), (folder_ / name).c_str()) != 0 ||
      !Sync(folder_) ||
      symlink(name.c_str(), (folder_ / kNextLink).c_str()) != 0 ||
      rename((folder_ / kNextLink).c_str(), (folder_ / kCurrent).c_str()) != 0 ||
      !Sync(folder_)) {
    return std::unexpected(CannotChange(folder_ / name));
  }
  // From here on the new pair is in force; what is left over does no harm.
  seen_.reset();
  mkdir((folder_ / kStaging).c_str(), 0700);
  for (const std::uint64_t number : before) {
    std::error_code ignored;
    std::filesystem::remove_all(folder_ / (std::string(kPair) + std::to_string(number)), ignored);
  }
  return {};
}

}  // namespace oauthvault::registry
