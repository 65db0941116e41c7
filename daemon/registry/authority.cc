#include "daemon/registry/authority.h"

#include <arpa/inet.h>
#include <openssl/asn1.h>
#include <openssl/obj_mac.h>
#include <openssl/pem.h>
#include <openssl/rand.h>

#include <algorithm>
#include <array>
#include <optional>
#include <span>
#include <utility>

#include "daemon/access/principal.h"
#include "daemon/registry/x509.h"

namespace oauthvault::registry {
namespace {

constexpr std::int64_t kRootTtlS = 10LL * 365 * 24 * 3600;
constexpr std::int64_t kBackdateS = 60;
/// The last second that a certificate can name (RFC 5280, 4.1.2.5.2), less the longest life.
constexpr std::int64_t kLatestNowS = 253'402'300'799 - kRootTtlS;
constexpr std::size_t kSerialSize = 16;
/// X.520 bounds a common name; the URI SAN holds the whole trust domain.
constexpr std::size_t kMaxCommonNameSize = 64;
constexpr std::size_t kMaxDnsNameSize = 253;
constexpr std::size_t kMaxDnsLabelSize = 63;
constexpr std::string_view kSpiffeScheme = "spiffe://";

using Extension = std::unique_ptr<X509_EXTENSION, FreeBy<X509_EXTENSION_free>>;
using OneName = std::unique_ptr<GENERAL_NAME, FreeBy<GENERAL_NAME_free>>;
using String = std::unique_ptr<ASN1_STRING, FreeBy<ASN1_STRING_free>>;

/// What a memory BIO holds; valid until it is written to or freed.
std::span<std::uint8_t> Contents(BIO* bio) {
  char* data = nullptr;
  const long size_bytes = BIO_get_mem_data(bio, &data);
  if (data == nullptr || size_bytes <= 0) return {};
  return {reinterpret_cast<std::uint8_t*>(data), static_cast<std::size_t>(size_bytes)};
}

PrivateKeyPem WriteKey(EVP_PKEY* key) {
  const Bio bio(BIO_new(BIO_s_mem()));
  if (!bio) return {};
  const int written =
      PEM_write_bio_PKCS8PrivateKey(bio.get(), key, nullptr, nullptr, 0, nullptr, nullptr);
  const std::span<std::uint8_t> pem = Contents(bio.get());
  PrivateKeyPem secret;
  if (written == 1) {
    secret = PrivateKeyPem(crypto::SecretBytes::CopyOf(std::span<const std::uint8_t>(pem)));
  }
  crypto::Wipe(pem);
  return secret;
}

/// 128 random bits, not zero. DER puts a zero byte in front where the first bit is set.
Number MakeSerial() {
  std::array<std::uint8_t, kSerialSize> bytes{};
  if (RAND_bytes(bytes.data(), static_cast<int>(bytes.size())) != 1) return nullptr;
  Number serial(BN_bin2bn(bytes.data(), static_cast<int>(bytes.size()), nullptr));
  if (!serial || BN_is_zero(serial.get())) return nullptr;
  return serial;
}

/// Adds one subject alternative name. The value is set as bytes and never passes through the
/// configuration syntax of OpenSSL, where a comma would begin another name.
bool AddName(GENERAL_NAMES* names, int type, std::span<const std::uint8_t> value) {
  String text(ASN1_STRING_type_new(type == GEN_IPADD ? V_ASN1_OCTET_STRING : V_ASN1_IA5STRING));
  OneName name(GENERAL_NAME_new());
  if (!text || !name ||
      ASN1_STRING_set(text.get(), value.data(), static_cast<int>(value.size())) != 1) {
    return false;
  }
  GENERAL_NAME_set0_value(name.get(), type, text.release());
  if (sk_GENERAL_NAME_push(names, name.get()) <= 0) return false;
  static_cast<void>(name.release());
  return true;
}

bool AddName(GENERAL_NAMES* names, int type, std::string_view value) {
  return AddName(names, type,
                 std::span(reinterpret_cast<const std::uint8_t*>(value.data()), value.size()));
}

/// A host name of letters, digits and inner hyphens. The last label is not a number, so that a
/// mistyped IPv4 address is refused instead of becoming a name.
bool IsDnsName(std::string_view name) {
  if (name.empty() || name.size() > kMaxDnsNameSize) return false;
  for (;;) {
    const std::size_t dot = name.find('.');
    const std::string_view label = name.substr(0, dot);
    if (label.empty() || label.size() > kMaxDnsLabelSize || label.starts_with('-') ||
        label.ends_with('-')) {
      return false;
    }
    const auto is_digit = [](char c) { return c >= '0' && c <= '9'; };
    for (const char c : label) {
      if (!is_digit(c) && !(c >= 'a' && c <= 'z') && !(c >= 'A' && c <= 'Z') && c != '-') {
        return false;
      }
    }
    if (dot == std::string_view::npos) return !std::all_of(label.begin(), label.end(), is_digit);
    name.remove_prefix(dot + 1);
  }
}

enum class Added : std::uint8_t { kYes, kNoName, kFailed };

/// Adds a DNS name or an IP address.
Added AddHost(GENERAL_NAMES* names, const std::string& host) {
  // A NUL inside would end the text for inet_pton; neither form has one.
  if (host.size() > kMaxDnsNameSize || host.find('\0') != std::string::npos) return Added::kNoName;
  std::array<std::uint8_t, 16> address{};
  std::size_t address_size = 0;
  if (inet_pton(AF_INET, host.c_str(), address.data()) == 1) address_size = 4;
  else if (inet_pton(AF_INET6, host.c_str(), address.data()) == 1) address_size = 16;
  bool added = false;
  if (address_size != 0) {
    added = AddName(names, GEN_IPADD,
                    std::span<const std::uint8_t>(address.data(), address_size));
  } else {
    if (!IsDnsName(host)) return Added::kNoName;
    added = AddName(names, GEN_DNS, host);
  }
  return added ? Added::kYes : Added::kFailed;
}

/// Adds an extension whose value is one of our own literals.
bool AddExtension(X509* certificate, X509V3_CTX* names, int nid, const char* value) {
  const Extension extension(X509V3_EXT_conf_nid(nullptr, names, nid, value));
  return extension && X509_add_ext(certificate, extension.get(), -1) == 1;
}

bool AddSubjectEntry(X509_NAME* subject, int nid, std::string_view text) {
  return X509_NAME_add_entry_by_NID(subject, nid, MBSTRING_ASC,
                                    reinterpret_cast<const unsigned char*>(text.data()),
                                    static_cast<int>(text.size()), -1, 0) == 1;
}

/// The values of the extensions that set a root, a client and a server apart.
struct Profile {
  const char* basic_constraints;
  const char* key_usage;
  const char* extended_key_usage;  ///< null: none
};
constexpr Profile kRoot = {"critical,CA:TRUE,pathlen:0", "critical,keyCertSign,cRLSign", nullptr};
constexpr Profile kClient = {"critical,CA:FALSE", "critical,digitalSignature", "clientAuth"};
constexpr Profile kServer = {"critical,CA:FALSE", "critical,digitalSignature", "serverAuth"};

/// Who signs. For a root the certificate is null: it signs itself.
struct Issuer {
  X509* certificate;
  EVP_PKEY* key;
};

/// What goes into a certificate, besides the profile.
struct Contained {
  EVP_PKEY* public_key;
  int subject_nid;
  std::string_view subject;
  const GENERAL_NAMES* names;
  std::int64_t not_before_s;
  std::int64_t not_after_s;
};

/// Puts a certificate together and signs it. Null when OpenSSL fails.
Certificate Sign(const Issuer& issuer, const Profile& profile, const Contained& contained) {
  Certificate made(X509_new());
  const Number serial = MakeSerial();
  X509* certificate = made.get();
  if (certificate == nullptr || !serial) return nullptr;
  X509* signer = issuer.certificate == nullptr ? certificate : issuer.certificate;
  X509V3_CTX context;
  X509V3_set_ctx(&context, signer, certificate, nullptr, nullptr, 0);
  X509V3_set_ctx_nodb(&context);
  // In this order: the key identifier of a root is made from its own key, and the issuer's name of
  // a root is its own subject.
  const bool complete =
      X509_set_version(certificate, X509_VERSION_3) == 1 &&
      BN_to_ASN1_INTEGER(serial.get(), X509_get_serialNumber(certificate)) != nullptr &&
      ASN1_TIME_set(X509_getm_notBefore(certificate), contained.not_before_s) != nullptr &&
      ASN1_TIME_set(X509_getm_notAfter(certificate), contained.not_after_s) != nullptr &&
      X509_set_pubkey(certificate, contained.public_key) == 1 &&
      AddSubjectEntry(X509_get_subject_name(certificate), contained.subject_nid,
                      contained.subject) &&
      X509_set_issuer_name(certificate, X509_get_subject_name(signer)) == 1 &&
      AddExtension(certificate, &context, NID_basic_constraints, profile.basic_constraints) &&
      AddExtension(certificate, &context, NID_key_usage, profile.key_usage) &&
      (profile.extended_key_usage == nullptr ||
       AddExtension(certificate, &context, NID_ext_key_usage, profile.extended_key_usage)) &&
      AddExtension(certificate, &context, NID_subject_key_identifier, "hash") &&
      (issuer.certificate == nullptr ||
       AddExtension(certificate, &context, NID_authority_key_identifier, "keyid:always")) &&
      X509_add1_ext_i2d(certificate, NID_subject_alt_name,
                        const_cast<GENERAL_NAMES*>(contained.names), 0, X509V3_ADD_DEFAULT) == 1;
  if (!complete || X509_sign(certificate, issuer.key, EVP_sha256()) <= 0) return nullptr;
  return made;
}

bool IsNow(std::int64_t now_s) { return now_s >= kBackdateS && now_s <= kLatestNowS; }

bool IsTtl(std::int64_t ttl_s) { return ttl_s >= kMinIdentityTtlS && ttl_s <= kMaxIdentityTtlS; }

}  // namespace

struct CertificateAuthority::State {
  Certificate certificate;
  Key key;
  std::string certificate_pem;
  std::string trust_domain;
  std::int64_t expires_at_s = 0;
};

CertificateAuthority::CertificateAuthority(std::unique_ptr<State> state)
    : state_(std::move(state)) {}
CertificateAuthority::~CertificateAuthority() = default;

const std::string& CertificateAuthority::CertificatePem() const { return state_->certificate_pem; }

Result<CertificateAuthority::Material> CertificateAuthority::Generate(
    std::string_view trust_domain, std::int64_t now_s) {
  const QuietErrors quiet;
  if (!access::IsValidTrustDomain(trust_domain)) {
    return Fail(Code::kInvalid, "a CA needs a trust domain of a-z 0-9 . - _");
  }
  if (!IsNow(now_s)) return Fail(Code::kInvalid, "a CA cannot begin at this time");
  std::string common_name = "oauthvault CA " + std::string(trust_domain);
  common_name.resize(std::min(common_name.size(), kMaxCommonNameSize));
  const Names names(GENERAL_NAMES_new());
  const Key key(EVP_EC_gen("P-256"));
  Material material;
  if (names && key &&
      AddName(names.get(), GEN_URI, std::string(kSpiffeScheme) + std::string(trust_domain))) {
    const Certificate certificate =
        Sign({nullptr, key.get()}, kRoot,
             {key.get(), NID_commonName, common_name, names.get(), now_s - kBackdateS,
              now_s + kRootTtlS});
    if (certificate) {
      material.certificate_pem = WriteCertificate(certificate.get());
      material.key = WriteKey(key.get());
    }
  }
  if (material.certificate_pem.empty() || material.key.Empty()) {
    return Fail(Code::kUnavailable, "OpenSSL could not make the CA");
  }
  return material;
}

Result<std::unique_ptr<CertificateAuthority>> CertificateAuthority::Load(
    std::string_view certificate_pem, const PrivateKeyPem& key) {
  const QuietErrors quiet;
  auto state = std::make_unique<State>();
  state->certificate = ReadCertificate(certificate_pem);
  X509* certificate = state->certificate.get();
  if (certificate == nullptr) return Fail(Code::kCorrupt, "the CA certificate cannot be read");
  state->key = ReadKey(key.Bytes());
  if (!state->key) return Fail(Code::kCorrupt, "the CA key cannot be read");
  if (X509_check_private_key(certificate, state->key.get()) != 1) {
    return Fail(Code::kCorrupt, "the CA certificate and the CA key do not belong together");
  }
  constexpr std::uint32_t kRootFlags = EXFLAG_CA | EXFLAG_SS | EXFLAG_KUSAGE;
  const std::uint32_t flags = X509_get_extension_flags(certificate);
  if ((flags & kRootFlags) != kRootFlags || (flags & EXFLAG_INVALID) != 0 ||
      (X509_get_key_usage(certificate) & KU_KEY_CERT_SIGN) == 0 ||
      X509_verify(certificate, state->key.get()) != 1) {
    return Fail(Code::kCorrupt, "the CA certificate is not that of a self-signed CA");
  }
  const Names names = NamesOf(certificate);
  const std::optional<std::string> uri = OnlyUri(names.get());
  if (!uri || !uri->starts_with(kSpiffeScheme) ||
      !access::IsValidTrustDomain(std::string_view(*uri).substr(kSpiffeScheme.size()))) {
    return Fail(Code::kCorrupt, "the CA certificate names no trust domain");
  }
  state->trust_domain = uri->substr(kSpiffeScheme.size());
  const std::optional<std::int64_t> expires_at_s = ToSeconds(X509_get0_notAfter(certificate));
  if (!expires_at_s) return Fail(Code::kCorrupt, "the CA certificate has no readable end");
  state->expires_at_s = *expires_at_s;
  state->certificate_pem = WriteCertificate(certificate);
  if (state->certificate_pem.empty()) {
    return Fail(Code::kUnavailable, "OpenSSL could not write the CA certificate");
  }
  return std::unique_ptr<CertificateAuthority>(new CertificateAuthority(std::move(state)));
}

Result<IssuedCertificate> CertificateAuthority::IssueClient(std::string_view csr_pem,
                                                            std::string_view spiffe_id,
                                                            std::int64_t ttl_s,
                                                            std::int64_t now_s) const {
  const QuietErrors quiet;
  if (!access::Principal::FromSpiffeId(spiffe_id, state_->trust_domain)) {
    return Fail(Code::kInvalid, "the CA vouches for principals of its own trust domain only");
  }
  if (!IsTtl(ttl_s)) return Fail(Code::kInvalid, "a certificate lives 60 s to 90 days");
  if (!IsNow(now_s) || now_s + ttl_s > state_->expires_at_s) {
    return Fail(Code::kInvalid, "the certificate would outlive its CA");
  }
  if (csr_pem.size() > kMaxCsrSize) return Fail(Code::kInvalid, "the CSR is larger than 16 KiB");
  const Request request = ReadRequest(csr_pem);
  if (!request) return Fail(Code::kInvalid, "the CSR is no PEM certificate request");
  EVP_PKEY* public_key = X509_REQ_get0_pubkey(request.get());
  if (public_key == nullptr || !IsAcceptedKey(public_key)) {
    return Fail(Code::kInvalid,
                "the CSR's key is not EC P-256 or P-384, Ed25519 or RSA of 2048 to 8192 bits");
  }
  if (X509_REQ_verify(request.get(), public_key) != 1) {
    return Fail(Code::kInvalid, "the CSR is not signed by its own key");
  }
  const Names names(GENERAL_NAMES_new());
  IssuedCertificate issued;
  issued.issued_at_s = now_s;
  issued.expires_at_s = now_s + ttl_s;
  if (names && AddName(names.get(), GEN_URI, spiffe_id)) {
    const Certificate certificate =
        Sign({state_->certificate.get(), state_->key.get()}, kClient,
             {public_key, NID_organizationName, "oauthvault", names.get(), now_s - kBackdateS,
              issued.expires_at_s});
    if (certificate) {
      issued.certificate_pem = WriteCertificate(certificate.get());
      issued.serial = SerialHex(certificate.get());
      issued.key_hash = KeyHashOf(public_key);
    }
  }
  if (issued.certificate_pem.empty() || issued.serial.empty() || issued.key_hash.empty()) {
    return Fail(Code::kUnavailable, "OpenSSL could not make the client certificate");
  }
  return issued;
}

Result<ServerIdentity> CertificateAuthority::IssueServer(const std::vector<std::string>& names,
                                                         std::string_view trust_domain,
                                                         std::int64_t ttl_s,
                                                         std::int64_t now_s) const {
  const QuietErrors quiet;
  if (trust_domain != state_->trust_domain) {
    return Fail(Code::kInvalid, "the CA vouches for the vault of its own trust domain only");
  }
  if (!IsTtl(ttl_s)) return Fail(Code::kInvalid, "a server certificate lives 60 s to 90 days");
  if (!IsNow(now_s) || now_s + ttl_s > state_->expires_at_s) {
    return Fail(Code::kInvalid, "the server certificate would outlive its CA");
  }
  if (names.empty() || names.size() > kMaxServerNames) {
    return Fail(Code::kInvalid, "a server certificate has 1 to 32 names");
  }
  const Names sans(GENERAL_NAMES_new());
  const Key key(EVP_EC_gen("P-256"));
  bool complete = sans && key;
  for (const std::string& name : names) {
    if (!complete) break;
    const Added added = AddHost(sans.get(), name);
    if (added == Added::kNoName) {
      return Fail(Code::kInvalid, "a name of the server is neither a DNS name nor an IP address");
    }
    complete = added == Added::kYes;
  }
  ServerIdentity identity;
  identity.expires_at_s = now_s + ttl_s;
  if (complete && AddName(sans.get(), GEN_URI,
                          std::string(kSpiffeScheme) + state_->trust_domain + "/vault")) {
    const Certificate certificate =
        Sign({state_->certificate.get(), state_->key.get()}, kServer,
             {key.get(), NID_organizationName, "oauthvault", sans.get(), now_s - kBackdateS,
              identity.expires_at_s});
    if (certificate) {
      identity.certificate_pem = WriteCertificate(certificate.get());
      identity.key = WriteKey(key.get());
      identity.fingerprint = FingerprintOf(certificate.get());
    }
  }
  if (identity.certificate_pem.empty() || identity.key.Empty()) {
    return Fail(Code::kUnavailable, "OpenSSL could not make the server certificate");
  }
  return identity;
}

Result<ClientKeyPair> CertificateAuthority::IssueOwnClient(std::string_view spiffe_id,
                                                           std::int64_t ttl_s,
                                                           std::int64_t now_s) const {
  const QuietErrors quiet;
  const Key key(EVP_EC_gen("P-256"));
  const Request request(X509_REQ_new());
  const Bio bio(BIO_new(BIO_s_mem()));
  if (!key || !request || !bio || X509_REQ_set_pubkey(request.get(), key.get()) != 1 ||
      X509_REQ_sign(request.get(), key.get(), EVP_sha256()) == 0 ||
      PEM_write_bio_X509_REQ(bio.get(), request.get()) != 1) {
    return Fail(Code::kUnavailable, "OpenSSL could not make a key for the daemon's own calls");
  }
  char* csr = nullptr;
  const long size = BIO_get_mem_data(bio.get(), &csr);
  auto issued =
      IssueClient(std::string_view(csr, static_cast<std::size_t>(size)), spiffe_id, ttl_s, now_s);
  if (!issued) return Fail(std::move(issued));
  ClientKeyPair pair{std::move(issued->certificate_pem), WriteKey(key.get())};
  if (pair.key.Empty()) {
    return Fail(Code::kUnavailable, "OpenSSL could not write the key for the daemon's own calls");
  }
  return pair;
}

Result<std::string> KeyHashOfRequest(std::string_view csr_pem) {
  const QuietErrors quiet;
  const Request request = csr_pem.size() > kMaxCsrSize ? nullptr : ReadRequest(csr_pem);
  EVP_PKEY* key = request ? X509_REQ_get0_pubkey(request.get()) : nullptr;
  std::string hash = key == nullptr ? std::string() : KeyHashOf(key);
  if (hash.empty()) return Fail(Code::kInvalid, "the CSR holds no public key that can be read");
  return hash;
}

Result<PeerCertificate> ReadPeerCertificate(std::string_view certificate_pem) {
  const QuietErrors quiet;
  if (certificate_pem.size() > kMaxPeerCertificateSize) {
    return Fail(Code::kUnauthenticated, "the peer's certificate is larger than 16 KiB");
  }
  const Certificate certificate = ReadCertificate(certificate_pem);
  if (!certificate) return Fail(Code::kUnauthenticated, "the peer's certificate cannot be read");
  const std::uint32_t flags = X509_get_extension_flags(certificate.get());
  if ((flags & EXFLAG_INVALID) != 0) {
    return Fail(Code::kUnauthenticated, "the peer's certificate has extensions that do not parse");
  }
  // X509-SVID, section 4.1: "leaf certificates MUST set the `cA` field to `false`".
  if ((flags & EXFLAG_CA) != 0) {
    return Fail(Code::kUnauthenticated, "the peer's certificate is that of a CA");
  }
  // Section 4.3: "The key usage extension MUST be set on all SVIDs", "Leaf SVIDs MUST set
  // `digitalSignature`" and "Leaf SVIDs MUST NOT set `keyCertSign` or `cRLSign`". Where the
  // extension is missing OpenSSL gives every bit, which the second rule refuses.
  const std::uint32_t usage = X509_get_key_usage(certificate.get());
  if ((usage & (KU_KEY_CERT_SIGN | KU_CRL_SIGN)) != 0 || (usage & KU_DIGITAL_SIGNATURE) == 0) {
    return Fail(Code::kUnauthenticated, "the peer's key is not for signing handshakes alone");
  }
  if ((flags & EXFLAG_XKUSAGE) == 0 ||
      (X509_get_extended_key_usage(certificate.get()) & XKU_SSL_CLIENT) == 0) {
    return Fail(Code::kUnauthenticated, "the peer's certificate is not for clients");
  }
  EVP_PKEY* key = X509_get0_pubkey(certificate.get());
  if (key == nullptr || !IsAcceptedKey(key)) {
    return Fail(Code::kUnauthenticated, "the peer's key is too weak or of an unknown kind");
  }
  const Names names = NamesOf(certificate.get());
  std::optional<std::string> uri = OnlyUri(names.get());
  if (!uri) {
    return Fail(Code::kUnauthenticated, "the peer's certificate has not exactly one URI");
  }
  PeerCertificate peer;
  peer.spiffe_id = std::move(*uri);
  peer.serial = SerialHex(certificate.get());
  const std::optional<std::int64_t> end_s = ToSeconds(X509_get0_notAfter(certificate.get()));
  if (peer.serial.empty() || !end_s) {
    return Fail(Code::kUnauthenticated, "the peer's certificate has no usable serial or end");
  }
  peer.expires_at_s = *end_s;
  return peer;
}

}  // namespace oauthvault::registry
