#include "daemon/registry/trust.h"

#include <algorithm>
#include <array>
#include <optional>
#include <span>
#include <utility>

#include "daemon/registry/x509.h"

namespace oauthvault::registry {
namespace {

/// What an outside CA may vouch for. Admins and auditors come from the built-in CA alone.
constexpr std::array<std::string_view, 2> kOutsideKinds = {"component", "runner"};

void FreeStack(STACK_OF(X509)* stack) { sk_X509_pop_free(stack, X509_free); }

using Believed = std::unique_ptr<X509_STORE, FreeBy<X509_STORE_free>>;
using Verification = std::unique_ptr<X509_STORE_CTX, FreeBy<X509_STORE_CTX_free>>;
using Stack = std::unique_ptr<STACK_OF(X509), FreeBy<FreeStack>>;

/// SHA-256 in hex.
constexpr std::size_t kKeyHashDigits = 64;

/// Signatures and keys of at least 112 bits (NIST SP 800-57): no SHA-1, no RSA below 2048 bits.
constexpr int kAuthLevel = 2;

Error NotVouchedFor() {
  return Error(Code::kUnauthenticated,
               "no CA that is believed vouches for this SPIFFE id by this certificate");
}

/// A store that believes one certificate alone, whether or not that is self-signed.
Believed BelievingOnly(X509* anchor) {
  Believed store(X509_STORE_new());
  if (!store || X509_STORE_add_cert(store.get(), anchor) != 1 ||
      X509_STORE_set_flags(store.get(), X509_V_FLAG_PARTIAL_CHAIN) != 1) {
    return nullptr;
  }
  return store;
}

/// The first end in a chain that leads from `leaf` to the store's one certificate; nullopt where
/// there is no such chain that is good at `now_s` and has no revoked key. Path length, name
/// constraints, key usage and the signatures are OpenSSL's to check (RFC 5280, 6.1).
std::optional<std::int64_t> VerifiedUntil(X509_STORE* store, X509* leaf, STACK_OF(X509)* others,
                                          const std::set<std::string>& revoked_keys,
                                          std::int64_t now_s) {
  const Verification context(X509_STORE_CTX_new());
  if (!context || X509_STORE_CTX_init(context.get(), store, leaf, others) != 1) {
    return std::nullopt;
  }
  X509_VERIFY_PARAM* parameters = X509_STORE_CTX_get0_param(context.get());
  X509_VERIFY_PARAM_set_time(parameters, now_s);
  X509_VERIFY_PARAM_set_depth(parameters, static_cast<int>(kMaxIntermediates));
  X509_VERIFY_PARAM_set_auth_level(parameters, kAuthLevel);
  if (X509_VERIFY_PARAM_set_purpose(parameters, X509_PURPOSE_SSL_CLIENT) != 1 ||
      X509_verify_cert(context.get()) != 1) {
    return std::nullopt;
  }
  std::optional<std::int64_t> until_s;
  const STACK_OF(X509)* chain = X509_STORE_CTX_get0_chain(context.get());
  for (int i = 0; i < sk_X509_num(chain); ++i) {
    const auto end_s = ToSeconds(X509_get0_notAfter(sk_X509_value(chain, i)));
    if (!end_s) return std::nullopt;
    // Also an intermediate's: what it signed is as good as its key.
    EVP_PKEY* key = X509_get0_pubkey(sk_X509_value(chain, i));
    if (key == nullptr || revoked_keys.contains(KeyHashOf(key))) return std::nullopt;
    until_s = until_s ? std::min(*until_s, *end_s) : *end_s;
  }
  return until_s;
}

Result<void> CheckKinds(const std::vector<std::string>& kinds) {
  if (kinds.empty()) return Fail(Code::kInvalid, "an outside CA vouches for at least one kind");
  for (const std::string& kind : kinds) {
    if (std::ranges::find(kOutsideKinds, kind) == kOutsideKinds.end()) {
      return Fail(Code::kInvalid, "an outside CA may vouch for component and runner only");
    }
    if (std::ranges::count(kinds, kind) != 1) {
      return Fail(Code::kInvalid, "a trust anchor names each kind once");
    }
  }
  return {};
}

/// The one certificate of a CA that may be believed from `now_s` on.
Result<Certificate> ReadAnchor(std::string_view pem, std::int64_t now_s) {
  if (pem.size() > kMaxTrustAnchorSize) {
    return Fail(Code::kInvalid, "a trust anchor is larger than 16 KiB");
  }
  std::vector<Certificate> read = ReadCertificates(pem, 1);
  if (read.empty()) return Fail(Code::kInvalid, "a trust anchor is exactly one PEM certificate");
  X509* certificate = read.front().get();
  const std::uint32_t flags = X509_get_extension_flags(certificate);
  // RFC 5280, 4.2.1.9: "If the basic constraints extension is not present [..] then the certified
  // public key MUST NOT be used to verify certificate signatures."
  if ((flags & EXFLAG_INVALID) != 0 || (flags & EXFLAG_BCONS) == 0 || (flags & EXFLAG_CA) == 0 ||
      (X509_get_key_usage(certificate) & KU_KEY_CERT_SIGN) == 0) {
    return Fail(Code::kInvalid, "the certificate is not that of a CA that may sign certificates");
  }
  EVP_PKEY* key = X509_get0_pubkey(certificate);
  if (key == nullptr || !IsAcceptedKey(key)) {
    return Fail(Code::kInvalid,
                "the CA's key is not EC P-256 or P-384, Ed25519 or RSA of 2048 to 8192 bits");
  }
  const auto begin_s = ToSeconds(X509_get0_notBefore(certificate));
  const auto end_s = ToSeconds(X509_get0_notAfter(certificate));
  if (!begin_s || !end_s || *begin_s > now_s) {
    return Fail(Code::kInvalid, "the CA's certificate is not valid yet");
  }
  if (*end_s <= now_s) return Fail(Code::kInvalid, "the CA's certificate has expired");
  return std::move(read.front());
}

std::string KeyHashIn(std::string_view certificate_pem) {
  const Certificate certificate = ReadCertificate(certificate_pem);
  EVP_PKEY* key = certificate ? X509_get0_pubkey(certificate.get()) : nullptr;
  return key == nullptr ? std::string() : KeyHashOf(key);
}

std::string ObjectOf(const storage::TrustAnchor& anchor) {
  std::string object = anchor.id + " " + anchor.trust_domain;
  for (const std::string& kind : anchor.kinds) object.append(" ").append(kind);
  return object;
}

}  // namespace

struct TrustTable::Anchor {
  std::string trust_domain;
  std::vector<std::string> kinds;  // empty for the built-in CA: every kind
  Certificate certificate;
  Believed store;

  bool MayVouchFor(access::Kind kind) const {
    return kinds.empty() || std::ranges::find(kinds, NameOf(kind)) != kinds.end();
  }
};

TrustTable::TrustTable(std::string trust_domain) : trust_domain_(std::move(trust_domain)) {}
TrustTable::~TrustTable() = default;

Result<std::shared_ptr<const TrustTable>> TrustTable::Make(
    std::string trust_domain, const std::string& built_in_pem,
    const std::vector<storage::TrustAnchor>& anchors, std::set<std::string> revoked_keys) {
  const QuietErrors quiet;
  std::shared_ptr<TrustTable> table(new TrustTable(std::move(trust_domain)));
  table->revoked_keys_ = std::move(revoked_keys);
  const auto take = [&table](std::string domain, std::vector<std::string> kinds,
                             const std::string& pem, std::string_view id) -> Result<void> {
    Anchor anchor{std::move(domain), std::move(kinds), ReadCertificate(pem), nullptr};
    if (anchor.certificate) anchor.store = BelievingOnly(anchor.certificate.get());
    if (!anchor.store || (!id.empty() && FingerprintOf(anchor.certificate.get()) != id)) {
      return Fail(Code::kCorrupt, "a trust anchor's certificate is not the one that was added");
    }
    // As OpenSSL writes it: what stands around a certificate in somebody's file stays out.
    table->roots_pem_ += WriteCertificate(anchor.certificate.get());
    table->anchors_.push_back(std::move(anchor));
    return {};
  };
  if (auto taken = take(table->trust_domain_, {}, built_in_pem, {}); !taken) {
    return Fail(std::move(taken));
  }
  for (const storage::TrustAnchor& row : anchors) {
    // What Add refuses to write is not believed either: an outside CA that says it is the vault's
    // trust domain, or that has no kinds, would be the built-in one.
    if (row.trust_domain == table->trust_domain_ || !CheckKinds(row.kinds)) {
      return Fail(Code::kCorrupt, "a trust anchor is bound to what no outside CA may vouch for");
    }
    if (auto taken = take(row.trust_domain, row.kinds, row.certificate_pem, row.id); !taken) {
      return Fail(std::move(taken));
    }
  }
  return std::shared_ptr<const TrustTable>(std::move(table));
}

Result<Vouched> TrustTable::Verify(std::string_view leaf_pem, std::string_view chain_pem,
                                   std::int64_t now_s) const {
  const QuietErrors quiet;
  auto peer = ReadPeerCertificate(leaf_pem);
  if (!peer) return Fail(std::move(peer));
  const std::string_view domain = access::TrustDomainIn(peer->spiffe_id);
  auto who = access::Principal::FromSpiffeId(peer->spiffe_id, domain);
  if (!who) return Fail(std::move(who));
  if (chain_pem.size() > kMaxPeerChainSize) {
    return Fail(Code::kUnauthenticated, "the peer shows more certificates than the vault reads");
  }
  const Certificate leaf = ReadCertificate(leaf_pem);
  const std::vector<Certificate> shown = ReadCertificates(chain_pem, kMaxIntermediates + 1);
  const Stack others(sk_X509_new_null());
  if (!leaf || !others) return Fail(Code::kUnauthenticated, "the peer's chain cannot be read");
  for (const Certificate& one : shown) {
    if (X509_add_cert(others.get(), one.get(), X509_ADD_FLAG_UP_REF) != 1) {
      return Fail(Code::kUnauthenticated, "the peer's chain cannot be put together");
    }
  }
  for (const Anchor& anchor : anchors_) {
    if (anchor.trust_domain != domain || !anchor.MayVouchFor(who->GetKind())) continue;
    const auto until_s = VerifiedUntil(anchor.store.get(), leaf.get(), others.get(),
                                       revoked_keys_, now_s);
    if (!until_s) continue;
    return Vouched{std::move(*who), std::move(peer->serial), anchor.kinds.empty(), *until_s};
  }
  return std::unexpected(NotVouchedFor());
}

Result<access::Principal> TrustTable::PrincipalOf(std::string_view text) const {
  const std::string_view domain = access::TrustDomainIn(text);
  // A text without a trust domain is read against the vault's own: local/admin, or an error.
  auto who = access::Principal::Parse(text, domain.empty() ? trust_domain_ : domain);
  if (!who || who->GetKind() == access::Kind::kLocalAdmin) return who;
  const bool is_known = std::ranges::any_of(anchors_, [&](const Anchor& anchor) {
    return anchor.trust_domain == domain && anchor.MayVouchFor(who->GetKind());
  });
  if (!is_known) {
    return Fail(Code::kInvalid,
                "no CA that is believed may vouch for such a principal of this trust domain");
  }
  return who;
}

Result<std::unique_ptr<Trusts>> Trusts::Load(storage::Store& store, std::string trust_domain,
                                             const CertificateAuthority& built_in) {
  std::unique_ptr<Trusts> trusts(
      new Trusts(store, std::move(trust_domain), built_in.CertificatePem()));
  std::vector<storage::TrustAnchor> anchors;
  auto read = store.ForEach<storage::TrustAnchor>(
      "", "", [&](auto& stored) { anchors.push_back(std::move(stored.row)); });
  if (!read) return Fail(std::move(read));
  std::set<std::string> revoked_keys;
  auto read_keys = store.ForEach<storage::RevokedKey>(
      "", "", [&](auto& stored) { revoked_keys.insert(std::move(stored.row.key_hash)); });
  if (!read_keys) return Fail(std::move(read_keys));
  auto put = trusts->PutInForce(std::move(anchors), std::move(revoked_keys));
  if (!put) return Fail(std::move(put));
  return trusts;
}

Result<void> Trusts::PutInForce(std::vector<storage::TrustAnchor> anchors,
                                std::set<std::string> revoked_keys) {
  auto table = TrustTable::Make(trust_domain_, built_in_pem_, anchors, revoked_keys);
  if (!table) return Fail(std::move(table));
  in_force_.store(std::move(*table));
  anchors_ = std::move(anchors);
  revoked_keys_ = std::move(revoked_keys);
  if (swapped_) swapped_();
  return {};
}

// A second certificate for a key would let one CA speak for two trust domains.
Result<void> Trusts::ExpectNew(const storage::TrustAnchor& anchor) const {
  if (anchors_.size() >= kMaxTrustAnchors) {
    return Fail(Code::kExhausted, "the vault believes 32 outside CAs already; remove one first");
  }
  const std::string key = KeyHashIn(anchor.certificate_pem);
  const auto has_key = [&key](const std::string& pem) { return KeyHashIn(pem) == key; };
  if (key.empty() || has_key(built_in_pem_) ||
      std::ranges::any_of(anchors_, has_key, &storage::TrustAnchor::certificate_pem)) {
    return Fail(Code::kConflict, "this CA, or another certificate of its key, is believed already");
  }
  return {};
}

Result<storage::Stored<storage::TrustAnchor>> Trusts::Add(std::string_view certificate_pem,
                                                          std::string_view trust_domain,
                                                          std::vector<std::string> kinds,
                                                          storage::Act act, std::int64_t now_s) {
  const QuietErrors quiet;
  if (!access::IsValidTrustDomain(trust_domain)) {
    return Fail(Code::kInvalid, "a trust anchor is bound to a trust domain of a-z 0-9 . - _");
  }
  if (trust_domain == trust_domain_) {
    return Fail(Code::kInvalid, "the vault's own CA alone vouches for its own trust domain");
  }
  if (auto ok = CheckKinds(kinds); !ok) return Fail(std::move(ok));
  auto certificate = ReadAnchor(certificate_pem, now_s);
  if (!certificate) return Fail(std::move(certificate));
  std::ranges::sort(kinds);
  const storage::TrustAnchor anchor{
      .id = FingerprintOf(certificate->get()),
      .trust_domain = std::string(trust_domain),
      .kinds = std::move(kinds),
      .certificate_pem = WriteCertificate(certificate->get()),
      .expires_at_s = ToSeconds(X509_get0_notAfter(certificate->get())).value_or(0),
      .created_at_s = now_s,
      .created_by = act.principal};
  if (anchor.id.empty() || anchor.certificate_pem.empty()) {
    return Fail(Code::kUnavailable, "OpenSSL could not write the trust anchor");
  }

  const std::lock_guard lock(changing_);
  if (auto ok = ExpectNew(anchor); !ok) return Fail(std::move(ok));
  act.object = ObjectOf(anchor);
  storage::Batch batch(std::move(act));
  batch.Insert(anchor);
  // Unavailable: it may stand; it is believed from the next start on, not before its line.
  if (auto committed = store_.Commit(std::move(batch)); !committed) {
    return Fail(std::move(committed));
  }
  std::vector<storage::TrustAnchor> anchors = anchors_;
  anchors.push_back(anchor);
  auto put = PutInForce(std::move(anchors), revoked_keys_);
  if (!put) return Fail(std::move(put));
  return store_.Get<storage::TrustAnchor>(anchor.Names());
}

Result<void> Trusts::Remove(const std::string& id, storage::Act act) {
  const std::lock_guard lock(changing_);
  auto standing = store_.Get<storage::TrustAnchor>(storage::TrustAnchor::Names(id));
  if (!standing) return Fail(std::move(standing));
  act.object = ObjectOf(standing->row);
  storage::Batch batch(std::move(act));
  batch.Remove(standing->row, standing->version);
  auto committed = store_.Commit(std::move(batch));
  if (committed || committed.error().GetCode() == Code::kUnavailable) {
    std::vector<storage::TrustAnchor> anchors = anchors_;
    std::erase_if(anchors, [&id](const storage::TrustAnchor& one) { return one.id == id; });
    if (auto put = PutInForce(std::move(anchors), revoked_keys_); !put) return put;
  }
  if (!committed) return Fail(std::move(committed));
  return {};
}

Result<storage::Stored<storage::RevokedKey>> Trusts::RevokeKey(const std::string& key_hash,
                                                               storage::Act act,
                                                               std::int64_t now_s) {
  const QuietErrors quiet;
  const bool is_hash = key_hash.size() == kKeyHashDigits &&
                       key_hash.find_first_not_of("0123456789abcdef") == std::string::npos;
  if (!is_hash) {
    return Fail(Code::kInvalid, "a key is named by 64 lower-case hex digits, its SHA-256");
  }
  const std::lock_guard lock(changing_);
  const auto is_of = [&key_hash](const std::string& pem) { return KeyHashIn(pem) == key_hash; };
  if (is_of(built_in_pem_) ||
      std::ranges::any_of(anchors_, is_of, &storage::TrustAnchor::certificate_pem)) {
    return Fail(Code::kInvalid, "this is the key of a CA that is believed; remove the CA instead");
  }
  const storage::RevokedKey row{key_hash, now_s, act.principal};
  auto standing = store_.Find<storage::RevokedKey>(row.Names());
  if (!standing) return Fail(std::move(standing));
  if (*standing && revoked_keys_.contains(key_hash)) return std::move(**standing);
  if (revoked_keys_.size() >= kMaxRevokedKeys) {
    return Fail(Code::kExhausted, "10,000 keys are revoked already; change their CA");
  }
  act.object = key_hash;
  storage::Batch batch(std::move(act));
  batch.Insert(row);
  auto committed = store_.Commit(std::move(batch));
  if (committed || committed.error().GetCode() == Code::kUnavailable) {
    std::set<std::string> revoked_keys = revoked_keys_;
    revoked_keys.insert(key_hash);
    if (auto put = PutInForce(anchors_, std::move(revoked_keys)); !put) return Fail(std::move(put));
  }
  if (!committed) return Fail(std::move(committed));
  return store_.Get<storage::RevokedKey>(row.Names());
}

Result<std::string> RevokedKeyIn(std::string_view certificate_pem) {
  const QuietErrors quiet;
  std::string key_hash =
      certificate_pem.size() > kMaxTrustAnchorSize ? std::string() : KeyHashIn(certificate_pem);
  if (key_hash.empty()) {
    return Fail(Code::kInvalid, "a key to revoke is named by one PEM certificate of 16 KiB");
  }
  return key_hash;
}

}  // namespace oauthvault::registry
