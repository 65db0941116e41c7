#include "daemon/registry/authority.h"
#include "daemon/registry/x509.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <openssl/bio.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <memory>
#include <mutex>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

namespace oauthvault::registry {
namespace {

constexpr std::int64_t kNow = 1'800'000'000;
constexpr std::int64_t kDay = 24 * 3600;
constexpr std::string_view kDomain = "vault.example";
constexpr std::string_view kAnn = "spiffe://vault.example/admin/ann";

using Extension = std::unique_ptr<X509_EXTENSION, FreeBy<X509_EXTENSION_free>>;
using Store = std::unique_ptr<X509_STORE, FreeBy<X509_STORE_free>>;
using StoreContext = std::unique_ptr<X509_STORE_CTX, FreeBy<X509_STORE_CTX_free>>;

Certificate Read(std::string_view pem) {
  const Bio bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
  Certificate certificate(PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr));
  EXPECT_TRUE(certificate);
  return certificate;
}

std::string Text(BIO* bio) {
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio, &data);
  return std::string(data, static_cast<std::size_t>(size));
}

std::string Pem(X509* certificate) {
  const Bio bio(BIO_new(BIO_s_mem()));
  EXPECT_EQ(PEM_write_bio_X509(bio.get(), certificate), 1);
  return Text(bio.get());
}

std::string Pem(X509_REQ* request) {
  const Bio bio(BIO_new(BIO_s_mem()));
  EXPECT_EQ(PEM_write_bio_X509_REQ(bio.get(), request), 1);
  return Text(bio.get());
}

void AddEntry(X509_NAME* name, const char* field, const char* value) {
  EXPECT_EQ(X509_NAME_add_entry_by_txt(name, field, MBSTRING_ASC,
                                       reinterpret_cast<const unsigned char*>(value), -1, -1, 0),
            1);
}

/// A CSR of `key` that asks for far more than it gets.
Request GreedyRequest(EVP_PKEY* key) {
  Request request(X509_REQ_new());
  X509_REQ_set_pubkey(request.get(), key);
  AddEntry(X509_REQ_get_subject_name(request.get()), "CN", "spiffe://vault.example/admin/root");
  AddEntry(X509_REQ_get_subject_name(request.get()), "O", "Greedy");
  STACK_OF(X509_EXTENSION)* wanted = sk_X509_EXTENSION_new_null();
  const std::vector<std::pair<int, const char*>> extensions = {
      {NID_subject_alt_name, "URI:spiffe://vault.example/admin/root,DNS:evil.example"},
      {NID_basic_constraints, "critical,CA:TRUE"},
      {NID_key_usage, "keyCertSign,cRLSign"},
      {NID_ext_key_usage, "serverAuth,codeSigning"},
      {NID_netscape_comment, "take me over"},
  };
  for (const auto& [nid, value] : extensions) {
    X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, nullptr, nid, value);
    EXPECT_NE(extension, nullptr) << value;
    sk_X509_EXTENSION_push(wanted, extension);
  }
  EXPECT_EQ(X509_REQ_add_extensions(request.get(), wanted), 1);
  sk_X509_EXTENSION_pop_free(wanted, X509_EXTENSION_free);
  const bool own_digest = EVP_PKEY_get_base_id(key) == EVP_PKEY_ED25519;
  EXPECT_GT(X509_REQ_sign(request.get(), key, own_digest ? nullptr : EVP_sha256()), 0);
  return request;
}

std::string GreedyCsr(EVP_PKEY* key) { return Pem(GreedyRequest(key).get()); }

std::unique_ptr<CertificateAuthority> MakeAuthority(std::string_view domain = kDomain) {
  auto material = CertificateAuthority::Generate(domain, kNow);
  EXPECT_TRUE(material);
  auto authority = CertificateAuthority::Load(material->certificate_pem, material->key);
  EXPECT_TRUE(authority);
  return *std::move(authority);
}

/// The outcome of a chain verification: X509_V_OK or the first error.
int Verify(std::string_view root_pem, std::string_view leaf_pem, int purpose, std::int64_t at_s) {
  const Certificate root = Read(root_pem);
  const Certificate leaf = Read(leaf_pem);
  const Store store(X509_STORE_new());
  X509_STORE_add_cert(store.get(), root.get());
  const StoreContext context(X509_STORE_CTX_new());
  X509_STORE_CTX_init(context.get(), store.get(), leaf.get(), nullptr);
  X509_VERIFY_PARAM* parameters = X509_STORE_CTX_get0_param(context.get());
  X509_VERIFY_PARAM_set_purpose(parameters, purpose);
  X509_VERIFY_PARAM_set_flags(parameters, X509_V_FLAG_X509_STRICT);
  X509_VERIFY_PARAM_set_time(parameters, at_s);
  X509_verify_cert(context.get());
  return X509_STORE_CTX_get_error(context.get());
}

/// The alternative names as `URI:..`, `DNS:..`, `IP:..`, in order.
std::vector<std::string> NamesOf(std::string_view pem) {
  const Certificate certificate = Read(pem);
  const Names names(static_cast<GENERAL_NAMES*>(
      X509_get_ext_d2i(certificate.get(), NID_subject_alt_name, nullptr, nullptr)));
  std::vector<std::string> texts;
  for (int i = 0; i < sk_GENERAL_NAME_num(names.get()); ++i) {
    int type = -1;
    const auto* value = static_cast<const ASN1_STRING*>(
        GENERAL_NAME_get0_value(sk_GENERAL_NAME_value(names.get(), i), &type));
    const unsigned char* data = ASN1_STRING_get0_data(value);
    const auto size = static_cast<std::size_t>(ASN1_STRING_length(value));
    if (type == GEN_IPADD) {
      char text[INET6_ADDRSTRLEN] = {};
      inet_ntop(size == 4 ? AF_INET : AF_INET6, data, text, sizeof text);
      texts.push_back(std::string("IP:") + text);
    } else {
      texts.push_back((type == GEN_URI ? "URI:" : type == GEN_DNS ? "DNS:" : "other:") +
                      std::string(reinterpret_cast<const char*>(data), size));
    }
  }
  return texts;
}

std::string SubjectOf(std::string_view pem) {
  const Certificate certificate = Read(pem);
  const Bio bio(BIO_new(BIO_s_mem()));
  X509_NAME_print_ex(bio.get(), X509_get_subject_name(certificate.get()), 0, XN_FLAG_RFC2253);
  return Text(bio.get());
}

/// The NIDs of the extensions, negative where not critical.
std::set<int> ExtensionsOf(std::string_view pem) {
  const Certificate certificate = Read(pem);
  std::set<int> nids;
  for (int i = 0; i < X509_get_ext_count(certificate.get()); ++i) {
    X509_EXTENSION* extension = X509_get_ext(certificate.get(), i);
    const int nid = OBJ_obj2nid(X509_EXTENSION_get_object(extension));
    nids.insert(X509_EXTENSION_get_critical(extension) != 0 ? nid : -nid);
  }
  return nids;
}

/// A self-signed certificate of `key` with these extensions, as text for OpenSSL.
std::string SelfSigned(EVP_PKEY* key, const std::vector<std::pair<int, std::string>>& extensions,
                       long serial = 7) {
  const Certificate certificate(X509_new());
  X509* made = certificate.get();
  X509_set_version(made, X509_VERSION_3);
  ASN1_INTEGER_set(X509_get_serialNumber(made), serial);
  ASN1_TIME_set(X509_getm_notBefore(made), kNow);
  ASN1_TIME_set(X509_getm_notAfter(made), kNow + kDay);
  X509_set_pubkey(made, key);
  AddEntry(X509_get_subject_name(made), "CN", "peer");
  X509_set_issuer_name(made, X509_get_subject_name(made));
  for (const auto& [nid, value] : extensions) {
    const Extension extension(X509V3_EXT_conf_nid(nullptr, nullptr, nid, value.c_str()));
    EXPECT_TRUE(extension) << value;
    X509_add_ext(made, extension.get(), -1);
  }
  EXPECT_GT(X509_sign(made, key, EVP_sha256()), 0);
  return Pem(made);
}

std::string PeerPem(const std::vector<std::pair<int, std::string>>& extensions, long serial = 7) {
  const Key key(EVP_EC_gen("P-256"));
  return SelfSigned(key.get(), extensions, serial);
}

void ExpectInvalid(const Result<IssuedCertificate>& issued, std::string_view what) {
  ASSERT_FALSE(issued) << what;
  EXPECT_EQ(issued.error().GetCode(), Code::kInvalid) << what;
}

TEST(Authority, Generate_MakesARootThatMaySignLeavesOnly) {
  const auto authority = MakeAuthority();
  const std::string& pem = authority->CertificatePem();
  EXPECT_EQ(SubjectOf(pem), "CN=oauthvault CA vault.example");
  EXPECT_EQ(NamesOf(pem), std::vector<std::string>{"URI:spiffe://vault.example"});
  EXPECT_EQ(ExtensionsOf(pem), (std::set<int>{NID_basic_constraints, NID_key_usage,
                                              -NID_subject_key_identifier,
                                              -NID_subject_alt_name}));
  const Certificate root = Read(pem);
  EXPECT_EQ(X509_get_pathlen(root.get()), 0);
  EXPECT_EQ(X509_get_key_usage(root.get()),
            static_cast<std::uint32_t>(KU_KEY_CERT_SIGN | KU_CRL_SIGN));
  EXPECT_EQ(X509_check_ca(root.get()), 1);
  EXPECT_EQ(Verify(pem, pem, X509_PURPOSE_ANY, kNow), X509_V_OK);
  EXPECT_EQ(Verify(pem, pem, X509_PURPOSE_ANY, kNow + 10 * 365 * kDay - 1), X509_V_OK);
  EXPECT_EQ(Verify(pem, pem, X509_PURPOSE_ANY, kNow + 10 * 365 * kDay + 1),
            X509_V_ERR_CERT_HAS_EXPIRED);
}

TEST(Authority, Generate_CutsTheCommonNameOfALongTrustDomainOnly) {
  const std::string domain(255, 'd');
  const auto authority = MakeAuthority(domain);
  EXPECT_EQ(SubjectOf(authority->CertificatePem()),
            "CN=oauthvault CA " + std::string(64 - 14, 'd'));
  EXPECT_EQ(NamesOf(authority->CertificatePem()),
            std::vector<std::string>{"URI:spiffe://" + domain});
}

TEST(Authority, Generate_RefusesWhatIsNoTrustDomainOrNoTime) {
  for (const std::string_view domain : {"", "Vault.example", "a/b", "a,DNS:b"}) {
    const auto material = CertificateAuthority::Generate(domain, kNow);
    ASSERT_FALSE(material) << domain;
    EXPECT_EQ(material.error().GetCode(), Code::kInvalid);
  }
  for (const std::int64_t now_s : {INT64_MIN, INT64_C(-1), INT64_C(0), INT64_MAX}) {
    EXPECT_FALSE(CertificateAuthority::Generate(kDomain, now_s)) << now_s;
  }
}

TEST(Authority, Load_RefusesWhatDoesNotBelongTogether) {
  const auto one = CertificateAuthority::Generate(kDomain, kNow);
  const auto other = CertificateAuthority::Generate(kDomain, kNow);
  ASSERT_TRUE(one && other);
  const auto authority = CertificateAuthority::Load(one->certificate_pem, one->key);
  ASSERT_TRUE(authority);
  EXPECT_EQ((*authority)->CertificatePem(), one->certificate_pem);
  const auto server = (*authority)->IssueServer({"localhost"}, kDomain, kDay, kNow);
  ASSERT_TRUE(server);
  const auto text_key = [](std::string_view text) {
    return PrivateKeyPem(crypto::SecretBytes::CopyOf(text));
  };
  // Encrypted, so that a passphrase would be asked for.
  const PrivateKeyPem encrypted =
      text_key("-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n"
               "DEK-Info: AES-128-CBC,00112233445566778899AABBCCDDEEFF\n\nAAAA\n"
               "-----END RSA PRIVATE KEY-----\n");
  const PrivateKeyPem empty;
  const PrivateKeyPem garbage = text_key("garbage");
  struct Bad {
    std::string_view what;
    std::string certificate_pem;
    const PrivateKeyPem* key;
    std::string_view reason;
  };
  const std::vector<Bad> bads = {
      {"the key of another CA", one->certificate_pem, &other->key, "together"},
      {"the certificate of another CA", other->certificate_pem, &one->key, "together"},
      {"a leaf", server->certificate_pem, &server->key, "self-signed"},
      {"an empty key", one->certificate_pem, &empty, "key cannot be read"},
      {"a garbage key", one->certificate_pem, &garbage, "key cannot be read"},
      {"an encrypted key", one->certificate_pem, &encrypted, "key cannot be read"},
      {"no certificate", "", &one->key, "certificate cannot be read"},
      {"half a certificate", one->certificate_pem.substr(0, 300), &one->key,
       "certificate cannot be read"},
  };
  for (const Bad& bad : bads) {
    const auto loaded = CertificateAuthority::Load(bad.certificate_pem, *bad.key);
    ASSERT_FALSE(loaded) << bad.what;
    EXPECT_EQ(loaded.error().GetCode(), Code::kCorrupt) << bad.what;
    EXPECT_NE(loaded.error().GetText().find(bad.reason), std::string_view::npos)
        << bad.what << ": " << loaded.error().GetText();
  }
}

TEST(Authority, Load_RefusesASelfSignedCertificateThatIsNoCaOfATrustDomain) {
  const Key key(EVP_EC_gen("P-256"));
  const Bio bio(BIO_new(BIO_s_mem()));
  PEM_write_bio_PrivateKey(bio.get(), key.get(), nullptr, nullptr, 0, nullptr, nullptr);
  const PrivateKeyPem key_pem(crypto::SecretBytes::CopyOf(Text(bio.get())));
  const std::pair<int, std::string> ca = {NID_basic_constraints, "critical,CA:TRUE,pathlen:0"};
  const std::pair<int, std::string> usage = {NID_key_usage, "critical,keyCertSign,cRLSign"};
  const std::pair<int, std::string> domain = {NID_subject_alt_name, "URI:spiffe://vault.example"};
  const auto load = [&](const std::vector<std::pair<int, std::string>>& extensions) {
    const auto loaded = CertificateAuthority::Load(SelfSigned(key.get(), extensions), key_pem);
    return loaded ? std::string("loaded") : std::string(loaded.error().GetText());
  };
  EXPECT_EQ(load({ca, usage, domain}), "loaded");
  const std::string no_ca = "the CA certificate is not that of a self-signed CA";
  EXPECT_EQ(load({usage, domain}), no_ca);
  EXPECT_EQ(load({{NID_basic_constraints, "critical,CA:FALSE"}, usage, domain}), no_ca);
  EXPECT_EQ(load({ca, domain}), no_ca);
  EXPECT_EQ(load({ca, {NID_key_usage, "critical,cRLSign"}, domain}), no_ca);
  const std::string no_domain = "the CA certificate names no trust domain";
  EXPECT_EQ(load({ca, usage}), no_domain);
  for (const std::string_view names :
       {"DNS:vault.example", "URI:https://vault.example", "URI:spiffe://", "URI:spiffe://Vault",
        "URI:spiffe://vault.example/x", "URI:spiffe://a.example,URI:spiffe://b.example"}) {
    EXPECT_EQ(load({ca, usage, {NID_subject_alt_name, std::string(names)}}), no_domain) << names;
  }
}

TEST(Authority, IssueClient_VerifiesForClientsUnderItsOwnRootOnly) {
  const auto authority = MakeAuthority();
  const auto same_name = MakeAuthority();
  const Key key(EVP_EC_gen("P-256"));
  const auto issued = authority->IssueClient(GreedyCsr(key.get()), kAnn, kDay, kNow);
  ASSERT_TRUE(issued);
  const std::string& root = authority->CertificatePem();
  const std::string& leaf = issued->certificate_pem;
  EXPECT_EQ(Verify(root, leaf, X509_PURPOSE_SSL_CLIENT, kNow), X509_V_OK);
  EXPECT_EQ(Verify(root, leaf, X509_PURPOSE_SSL_SERVER, kNow), X509_V_ERR_INVALID_PURPOSE);
  EXPECT_NE(Verify(same_name->CertificatePem(), leaf, X509_PURPOSE_SSL_CLIENT, kNow), X509_V_OK);
  EXPECT_EQ(Verify(root, leaf, X509_PURPOSE_SSL_CLIENT, kNow - 59), X509_V_OK);
  EXPECT_EQ(Verify(root, leaf, X509_PURPOSE_SSL_CLIENT, kNow - 61),
            X509_V_ERR_CERT_NOT_YET_VALID);
  EXPECT_EQ(Verify(root, leaf, X509_PURPOSE_SSL_CLIENT, kNow + kDay - 1), X509_V_OK);
  EXPECT_EQ(Verify(root, leaf, X509_PURPOSE_SSL_CLIENT, kNow + kDay + 1),
            X509_V_ERR_CERT_HAS_EXPIRED);
  EXPECT_EQ(issued->issued_at_s, kNow);
  EXPECT_EQ(issued->expires_at_s, kNow + kDay);
}

TEST(Authority, IssueClient_TakesNothingButTheKeyFromTheCsr) {
  const auto authority = MakeAuthority();
  const Key key(EVP_EC_gen("P-256"));
  const auto issued = authority->IssueClient(GreedyCsr(key.get()), kAnn, kDay, kNow);
  ASSERT_TRUE(issued);
  const std::string& pem = issued->certificate_pem;
  EXPECT_EQ(SubjectOf(pem), "O=oauthvault");
  EXPECT_EQ(NamesOf(pem), std::vector<std::string>{"URI:" + std::string(kAnn)});
  EXPECT_EQ(ExtensionsOf(pem),
            (std::set<int>{NID_basic_constraints, NID_key_usage, -NID_ext_key_usage,
                           -NID_subject_key_identifier, -NID_authority_key_identifier,
                           -NID_subject_alt_name}));
  const Certificate leaf = Read(pem);
  EXPECT_EQ(X509_check_ca(leaf.get()), 0);
  EXPECT_EQ(X509_get_key_usage(leaf.get()), static_cast<std::uint32_t>(KU_DIGITAL_SIGNATURE));
  EXPECT_EQ(X509_get_extended_key_usage(leaf.get()), static_cast<std::uint32_t>(XKU_SSL_CLIENT));
  EXPECT_EQ(EVP_PKEY_eq(X509_get0_pubkey(leaf.get()), key.get()), 1);
}

TEST(Authority, IssueClient_TakesTheKeysOnItsListAndNoOthers) {
  const auto authority = MakeAuthority();
  struct Case {
    std::string_view what;
    Key key;
    bool accepted;
  };
  std::vector<Case> cases;
  cases.push_back({"P-256", Key(EVP_EC_gen("P-256")), true});
  cases.push_back({"P-384", Key(EVP_EC_gen("P-384")), true});
  cases.push_back({"Ed25519", Key(EVP_PKEY_Q_keygen(nullptr, nullptr, "ED25519")), true});
  cases.push_back({"RSA 2048", Key(EVP_RSA_gen(2048)), true});
  cases.push_back({"RSA 1024", Key(EVP_RSA_gen(1024)), false});
  cases.push_back({"RSA 2040", Key(EVP_RSA_gen(2040)), false});
  cases.push_back({"P-224", Key(EVP_EC_gen("P-224")), false});
  cases.push_back({"P-521", Key(EVP_EC_gen("P-521")), false});
  cases.push_back({"secp256k1", Key(EVP_EC_gen("secp256k1")), false});
  for (const Case& each : cases) {
    ASSERT_TRUE(each.key) << each.what;
    const auto issued = authority->IssueClient(GreedyCsr(each.key.get()), kAnn, kDay, kNow);
    if (!each.accepted) {
      ExpectInvalid(issued, each.what);
      continue;
    }
    ASSERT_TRUE(issued) << each.what;
    EXPECT_EQ(Verify(authority->CertificatePem(), issued->certificate_pem,
                     X509_PURPOSE_SSL_CLIENT, kNow),
              X509_V_OK)
        << each.what;
  }
}

TEST(Authority, IssueClient_RefusesACurveSpelledOutInTheKey) {
  const auto authority = MakeAuthority();
  const Key key(EVP_EC_gen("P-256"));
  ASSERT_EQ(EVP_PKEY_set_utf8_string_param(key.get(), OSSL_PKEY_PARAM_EC_ENCODING, "explicit"), 1);
  ExpectInvalid(authority->IssueClient(GreedyCsr(key.get()), kAnn, kDay, kNow), "explicit");
}

TEST(Authority, IssueClient_RefusesACsrThatIsNone) {
  const auto authority = MakeAuthority();
  const Key key(EVP_EC_gen("P-256"));
  const Key other(EVP_EC_gen("P-256"));
  const std::string good = GreedyCsr(key.get());
  ASSERT_TRUE(authority->IssueClient(good, kAnn, kDay, kNow));
  std::string flipped = good;
  const std::size_t middle = good.size() / 2;
  flipped[middle] = flipped[middle] == 'A' ? 'B' : 'A';
  // Signed by one key and naming another: no proof that the asker holds the key.
  const Request borrowed = GreedyRequest(key.get());
  X509_REQ_set_pubkey(borrowed.get(), other.get());
  X509_REQ_sign(borrowed.get(), key.get(), EVP_sha256());
  struct Bad {
    std::string_view what;
    std::string csr;
  };
  const std::vector<Bad> bads = {
      {"empty", ""},
      {"garbage", "garbage"},
      {"garbage inside", "-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n"
                         "-----END CERTIFICATE REQUEST-----\n"},
      {"a certificate", authority->CertificatePem()},
      {"truncated", good.substr(0, good.size() - 60)},
      {"only its first line", good.substr(0, 40)},
      {"one character changed", flipped},
      {"signed by another key", Pem(borrowed.get())},
      {"a NUL in front", std::string(1, '\0') + good.substr(0, 100)},
      {"too large", std::string(kMaxCsrSize, '\n') + good},
      {"encrypted", "-----BEGIN CERTIFICATE REQUEST-----\nProc-Type: 4,ENCRYPTED\n"
                    "DEK-Info: AES-128-CBC,00112233445566778899AABBCCDDEEFF\n\nAAAA\n"
                    "-----END CERTIFICATE REQUEST-----\n"},
  };
  for (const Bad& bad : bads) {
    ExpectInvalid(authority->IssueClient(bad.csr, kAnn, kDay, kNow), bad.what);
  }
  const std::string padded = std::string(kMaxCsrSize - good.size(), '\n') + good;
  EXPECT_TRUE(authority->IssueClient(padded, kAnn, kDay, kNow));
}

TEST(Authority, IssueClient_RefusesEveryFlippedByteOfACsr) {
  const auto authority = MakeAuthority();
  const Key key(EVP_EC_gen("P-256"));
  const Request request = GreedyRequest(key.get());
  unsigned char* der = nullptr;
  const int size = i2d_X509_REQ(request.get(), &der);
  ASSERT_GT(size, 0);
  int issued = 0;
  for (int i = 0; i < size; ++i) {
    der[i] ^= 1;
    const Bio bio(BIO_new(BIO_s_mem()));
    PEM_write_bio(bio.get(), PEM_STRING_X509_REQ, "", der, size);
    if (authority->IssueClient(Text(bio.get()), kAnn, kDay, kNow)) ++issued;
    der[i] ^= 1;
  }
  OPENSSL_free(der);
  EXPECT_EQ(issued, 0);
}

TEST(Authority, IssueClient_VouchesForPrincipalsOfItsDomainOnly) {
  const auto authority = MakeAuthority();
  const Key key(EVP_EC_gen("P-256"));
  const std::string csr = GreedyCsr(key.get());
  for (const std::string_view id :
       {"spiffe://vault.example/runner/r", "spiffe://vault.example/auditor/a",
        "spiffe://vault.example/project/p/component/c"}) {
    const auto issued = authority->IssueClient(csr, id, kDay, kNow);
    ASSERT_TRUE(issued) << id;
    EXPECT_EQ(NamesOf(issued->certificate_pem),
              std::vector<std::string>{"URI:" + std::string(id)});
  }
  for (const std::string_view id :
       {"", "local/admin", "spiffe://vault.example", "spiffe://vault.example/vault",
        "spiffe://other.example/admin/ann", "spiffe://vault.example/admin/ann,DNS:evil.example",
        "spiffe://vault.example/admin/ann\n", "spiffe://vault.example/admin/*"}) {
    ExpectInvalid(authority->IssueClient(csr, id, kDay, kNow), id);
  }
}

TEST(Authority, IssueClient_KeepsTheBoundsOfTime) {
  const auto authority = MakeAuthority();
  const Key key(EVP_EC_gen("P-256"));
  const std::string csr = GreedyCsr(key.get());
  for (const std::int64_t ttl_s : {kMinIdentityTtlS, kDefaultIdentityTtlS, kMaxIdentityTtlS}) {
    const auto issued = authority->IssueClient(csr, kAnn, ttl_s, kNow);
    ASSERT_TRUE(issued) << ttl_s;
    EXPECT_EQ(issued->expires_at_s, kNow + ttl_s);
  }
  for (const std::int64_t ttl_s : {INT64_MIN, INT64_C(-1), INT64_C(0), kMinIdentityTtlS - 1,
                                   kMaxIdentityTtlS + 1, INT64_MAX}) {
    ExpectInvalid(authority->IssueClient(csr, kAnn, ttl_s, kNow), std::to_string(ttl_s));
  }
  const std::int64_t end_s = kNow + 10 * 365 * kDay;
  EXPECT_TRUE(authority->IssueClient(csr, kAnn, kDay, end_s - kDay));
  for (const std::int64_t now_s : {INT64_MIN, INT64_C(0), end_s - kDay + 1, INT64_MAX}) {
    ExpectInvalid(authority->IssueClient(csr, kAnn, kDay, now_s), std::to_string(now_s));
  }
}

TEST(Authority, IssueClient_GivesEveryCertificateItsOwnPositiveSerial) {
  const auto authority = MakeAuthority();
  const Key key(EVP_EC_gen("P-256"));
  const std::string csr = GreedyCsr(key.get());
  std::set<std::string> serials;
  bool high_bit_seen = false;
  for (int i = 0; i < 64; ++i) {
    const auto issued = authority->IssueClient(csr, kAnn, kDay, kNow);
    ASSERT_TRUE(issued);
    EXPECT_EQ(issued->serial.size(), 32U);
    EXPECT_EQ(issued->serial.find_first_not_of("0123456789abcdef"), std::string::npos);
    EXPECT_TRUE(serials.insert(issued->serial).second);
    high_bit_seen = high_bit_seen || issued->serial[0] >= '8';
    const auto peer = ReadPeerCertificate(issued->certificate_pem);
    ASSERT_TRUE(peer);
    EXPECT_EQ(peer->serial, issued->serial);
    EXPECT_EQ(peer->expires_at_s, issued->expires_at_s);
  }
  EXPECT_TRUE(high_bit_seen);
}

TEST(Authority, IssueClient_ServesManyThreadsAtOnce) {
  const auto authority = MakeAuthority();
  const Key key(EVP_EC_gen("P-256"));
  const std::string csr = GreedyCsr(key.get());
  std::mutex mutex;
  std::set<std::string> serials;
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      for (int j = 0; j < 25; ++j) {
        const auto issued = authority->IssueClient(csr, kAnn, kDay, kNow);
        if (!issued || !ReadPeerCertificate(issued->certificate_pem)) continue;
        const std::lock_guard lock(mutex);
        serials.insert(issued->serial);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(serials.size(), 100U);
}

TEST(Authority, IssueServer_HasExactlyTheNamesAskedForAndItsOwn) {
  const auto authority = MakeAuthority();
  const auto server = authority->IssueServer(
      {"vault.internal", "localhost", "127.0.0.1", "::1", "2001:db8::7", "xn--bcher-kva.example"},
      kDomain, kDay, kNow);
  ASSERT_TRUE(server);
  EXPECT_EQ(NamesOf(server->certificate_pem),
            (std::vector<std::string>{"DNS:vault.internal", "DNS:localhost", "IP:127.0.0.1",
                                      "IP:::1", "IP:2001:db8::7", "DNS:xn--bcher-kva.example",
                                      "URI:spiffe://vault.example/vault"}));
  EXPECT_EQ(SubjectOf(server->certificate_pem), "O=oauthvault");
  EXPECT_EQ(server->expires_at_s, kNow + kDay);
  const std::string& root = authority->CertificatePem();
  EXPECT_EQ(Verify(root, server->certificate_pem, X509_PURPOSE_SSL_SERVER, kNow), X509_V_OK);
  EXPECT_EQ(Verify(root, server->certificate_pem, X509_PURPOSE_SSL_CLIENT, kNow),
            X509_V_ERR_INVALID_PURPOSE);
  const Certificate certificate = Read(server->certificate_pem);
  EXPECT_EQ(X509_get_extended_key_usage(certificate.get()),
            static_cast<std::uint32_t>(XKU_SSL_SERVER));
  EXPECT_EQ(X509_check_host(certificate.get(), "vault.internal", 0, 0, nullptr), 1);
  EXPECT_EQ(X509_check_ip_asc(certificate.get(), "127.0.0.1", 0), 1);
  const Key key = server->key.Bytes().Expose([](std::span<const std::uint8_t> pem) {
    const Bio bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
    return Key(PEM_read_bio_PrivateKey(bio.get(), nullptr, nullptr, nullptr));
  });
  ASSERT_TRUE(key);
  EXPECT_EQ(X509_check_private_key(certificate.get(), key.get()), 1);
}

TEST(Authority, IssueServer_RefusesWhatIsNoName) {
  const auto authority = MakeAuthority();
  const std::string label(63, 'a');
  const std::string longest = label + "." + label + "." + label + "." + std::string(61, 'a');
  ASSERT_EQ(longest.size(), 253U);
  EXPECT_TRUE(authority->IssueServer({longest}, kDomain, kDay, kNow));
  std::vector<std::vector<std::string>> bads = {
      {}, {""}, {"."}, {"a..b"}, {".a"}, {"a."}, {"-a"}, {"a-"}, {"a_b"}, {"*.example"},
      {"a b"}, {"a,DNS:b"}, {"a/b"}, {"a:1"}, {"256.1.1.1"}, {"1.2.3"}, {"1.2.3.4.5"},
      {"[::1]"}, {"::1%lo"}, {"fe80::g"}, {"\xd0\xb0.example"}, {std::string("a\0b", 3)},
      {std::string("127.0.0.1\0x", 11)}, {longest + "a"}, {std::string(64, 'a')},
      {"good.example", "bad name"}};
  bads.emplace_back(kMaxServerNames + 1, "localhost");
  for (const std::vector<std::string>& bad : bads) {
    const auto server = authority->IssueServer(bad, kDomain, kDay, kNow);
    ASSERT_FALSE(server) << (bad.empty() ? "none" : bad.back());
    EXPECT_EQ(server.error().GetCode(), Code::kInvalid);
  }
  EXPECT_FALSE(authority->IssueServer({"localhost"}, "other.example", kDay, kNow));
  EXPECT_FALSE(authority->IssueServer({"localhost"}, kDomain, kMaxIdentityTtlS + 1, kNow));
  EXPECT_FALSE(authority->IssueServer({"localhost"}, kDomain, kDay, kNow + 10 * 365 * kDay));
}

TEST(PeerCertificate, IsReadWhenItIsALeafForClientsWithOneUri) {
  const std::pair<int, std::string> usage = {NID_key_usage, "critical,digitalSignature"};
  const std::pair<int, std::string> client = {NID_ext_key_usage, "clientAuth"};
  const std::string uri = "URI:spiffe://vault.example/runner/r";
  const std::pair<int, std::string> one_uri = {NID_subject_alt_name, uri};
  const std::pair<int, std::string> leaf = {NID_basic_constraints, "critical,CA:FALSE"};
  struct Case {
    std::string_view what;
    std::string pem;
    bool accepted;
  };
  const std::string good = PeerPem({leaf, usage, client, one_uri});
  const std::vector<Case> cases = {
      {"a leaf", good, true},
      {"without basic constraints", PeerPem({usage, client, one_uri}), true},
      {"for clients and servers",
       PeerPem({leaf, usage, {NID_ext_key_usage, "serverAuth,clientAuth"}, one_uri}), true},
      {"with a DNS name beside the URI",
       PeerPem({leaf, usage, client, {NID_subject_alt_name, uri + ",DNS:a.example"}}), true},
      {"with another key usage beside",
       PeerPem({leaf, {NID_key_usage, "digitalSignature,keyAgreement"}, client, one_uri}), true},
      {"a CA",
       PeerPem({{NID_basic_constraints, "critical,CA:TRUE"}, usage, client, one_uri}), false},
      {"that may sign certificates",
       PeerPem({leaf, {NID_key_usage, "digitalSignature,keyCertSign"}, client, one_uri}), false},
      {"that may sign CRLs",
       PeerPem({leaf, {NID_key_usage, "digitalSignature,cRLSign"}, client, one_uri}), false},
      {"without digitalSignature",
       PeerPem({leaf, {NID_key_usage, "keyAgreement"}, client, one_uri}), false},
      {"without key usage", PeerPem({leaf, client, one_uri}), false},
      {"without extended key usage", PeerPem({leaf, usage, one_uri}), false},
      {"for servers only", PeerPem({leaf, usage, {NID_ext_key_usage, "serverAuth"}, one_uri}),
       false},
      {"for any use", PeerPem({leaf, usage, {NID_ext_key_usage, "anyExtendedKeyUsage"}, one_uri}),
       false},
      {"with two URIs",
       PeerPem({leaf, usage, client,
                {NID_subject_alt_name, uri + ",URI:spiffe://vault.example/admin/ann"}}),
       false},
      {"with the same URI twice",
       PeerPem({leaf, usage, client, {NID_subject_alt_name, uri + "," + uri}}), false},
      {"with two extensions of names", PeerPem({leaf, usage, client, one_uri, one_uri}), false},
      {"without names", PeerPem({leaf, usage, client}), false},
      {"with a DNS name only",
       PeerPem({leaf, usage, client, {NID_subject_alt_name, "DNS:a.example"}}), false},
      {"with serial 0", PeerPem({leaf, usage, client, one_uri}, 0), false},
      {"with a negative serial", PeerPem({leaf, usage, client, one_uri}, -7), false},
      {"that is empty", "", false},
      {"that is garbage", "garbage", false},
      {"that is cut", good.substr(0, good.size() / 2), false},
      {"that is too large", std::string(kMaxPeerCertificateSize, '\n') + good, false},
      {"that is the built-in root", MakeAuthority()->CertificatePem(), false},
      {"that is the vault's own",
       MakeAuthority()->IssueServer({"localhost"}, kDomain, kDay, kNow)->certificate_pem, false},
  };
  for (const Case& each : cases) {
    const auto peer = ReadPeerCertificate(each.pem);
    ASSERT_EQ(peer.has_value(), each.accepted) << "a certificate " << each.what;
    if (peer) {
      EXPECT_EQ(peer->serial, std::string(31, '0') + "7");
      EXPECT_EQ(peer->expires_at_s, kNow + kDay);
    } else {
      EXPECT_EQ(peer.error().GetCode(), Code::kUnauthenticated) << each.what;
    }
  }
}

TEST(Authority, LeavesTheErrorQueueOfTheThreadAsItWas) {
  const auto authority = MakeAuthority();
  const PrivateKeyPem empty;
  const auto fail_everywhere = [&] {
    EXPECT_FALSE(authority->IssueClient("garbage", kAnn, kDay, kNow));
    EXPECT_FALSE(ReadPeerCertificate("garbage"));
    EXPECT_FALSE(CertificateAuthority::Load(authority->CertificatePem(), empty));
    EXPECT_FALSE(authority->IssueServer({"bad name"}, kDomain, kDay, kNow));
  };
  ERR_clear_error();
  fail_everywhere();
  EXPECT_EQ(ERR_peek_error(), 0U);
  ERR_raise(ERR_LIB_USER, 42);
  fail_everywhere();
  EXPECT_EQ(ERR_GET_REASON(ERR_get_error()), 42);
  EXPECT_EQ(ERR_get_error(), 0U);
}

}  // namespace
}  // namespace oauthvault::registry
