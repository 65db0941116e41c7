#include <gtest/gtest.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <sys/socket.h>

#include <atomic>
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <string>

#include "daemon/rivery/client.h"
#include "tests/daemon/rivery/listener.h"
#include "tests/storage/temporary_folder.h"

namespace oauthvault::rivery {
namespace {

using std::chrono::milliseconds;
using Key = std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)>;
using Certificate = std::unique_ptr<X509, decltype(&X509_free)>;

constexpr Reach kLoopback{.allow_loopback = true};
constexpr Limits kLimits{.connect_timeout = milliseconds(5000), .call_timeout = milliseconds(8000)};
constexpr long kHourS = 3600;

Key NewKey() { return Key(EVP_EC_gen("P-256"), &EVP_PKEY_free); }

void AddExtension(X509* certificate, int kind, const char* text) {
  X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, nullptr, kind, text);
  X509_add_ext(certificate, extension, -1);
  X509_EXTENSION_free(extension);
}

/// `issuer`: null for one that signs itself, by `key`.
Certificate NewCertificate(const char* name, const char* alternative_names, EVP_PKEY* key,
                           const X509* issuer, EVP_PKEY* issuer_key, long from_s, long until_s) {
  Certificate certificate(X509_new(), &X509_free);
  static long serial = 0;
  X509_set_version(certificate.get(), 2);
  ASN1_INTEGER_set(X509_get_serialNumber(certificate.get()), ++serial);
  X509_gmtime_adj(X509_getm_notBefore(certificate.get()), from_s);
  X509_gmtime_adj(X509_getm_notAfter(certificate.get()), until_s);
  X509_set_pubkey(certificate.get(), key);
  X509_NAME* subject = X509_get_subject_name(certificate.get());
  X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC,
                             reinterpret_cast<const unsigned char*>(name), -1, -1, 0);
  X509_set_issuer_name(certificate.get(), issuer != nullptr ? X509_get_subject_name(issuer)
                                                            : subject);
  if (alternative_names != nullptr) {
    AddExtension(certificate.get(), NID_subject_alt_name, alternative_names);
  } else {
    AddExtension(certificate.get(), NID_basic_constraints, "critical,CA:TRUE");
  }
  X509_sign(certificate.get(), issuer != nullptr ? issuer_key : key, EVP_sha256());
  return certificate;
}

/// A CA that the client trusts, and another one of the same name.
class TlsTest : public ::testing::Test {
 protected:
  TlsTest() {
    std::signal(SIGPIPE, SIG_IGN);  // the peer goes while the server still writes
    std::FILE* file = std::fopen(ca_file_.c_str(), "w");
    PEM_write_X509(file, ca_.get());
    std::fclose(file);
  }

  Reply<RemoteConnection> Create(const std::string& url, const std::string& ca_file) {
    return Client({}, kLimits, kLoopback, ca_file)
        .Create({.base_url = url, .token = token_}, "fb", "n", credentials_);
  }

  static void ExpectNeverSent(const Reply<RemoteConnection>& reply) {
    ASSERT_FALSE(reply);
    EXPECT_EQ(NameOf(reply.error().error.GetCode()), NameOf(Code::kUnavailable));
    EXPECT_EQ(reply.error().fate, Fate::kNeverSent);
    EXPECT_TRUE(reply.error().error.GetText().contains("trusted TLS"))
        << reply.error().error.Message();
  }

  storage::TemporaryFolder folder_;
  const std::string ca_file_ = folder_.Path() / "ca.pem";
  const Key ca_key_ = NewKey();
  const Certificate ca_ =
      NewCertificate("ca", nullptr, ca_key_.get(), nullptr, nullptr, -kHourS, kHourS);
  const Key foreign_key_ = NewKey();
  const Certificate foreign_ca_ =
      NewCertificate("ca", nullptr, foreign_key_.get(), nullptr, nullptr, -kHourS, kHourS);
  const crypto::ApiToken token_{crypto::SecretBytes::CopyOf("canary-api-token")};
  const crypto::SecretBytes credentials_ = crypto::SecretBytes::CopyOf(R"({"access_token":"x"})");
};

TEST_F(TlsTest, EveryCertificateButTheRightOne_IsRefusedBeforeAnythingLeaves) {
  const struct {
    std::string name;
    const char* alternative_names;
    const X509* issuer;  // null: itself
    EVP_PKEY* issuer_key;
    long from_s;
    long until_s;
    bool right;
  } rows[] = {
      {"right", "DNS:localhost", ca_.get(), ca_key_.get(), -60, kHourS, true},
      {"expired", "DNS:localhost", ca_.get(), ca_key_.get(), -kHourS, -60, false},
      {"not valid yet", "DNS:localhost", ca_.get(), ca_key_.get(), kHourS, 2 * kHourS, false},
      {"of another host", "DNS:rivery.example", ca_.get(), ca_key_.get(), -60, kHourS, false},
      {"of a host that begins so", "DNS:localhost.example", ca_.get(), ca_key_.get(), -60, kHourS,
       false},
      {"of an address only", "IP:127.0.0.1", ca_.get(), ca_key_.get(), -60, kHourS, false},
      {"signed by itself", "DNS:localhost", nullptr, nullptr, -60, kHourS, false},
      {"of a CA that is not trusted", "DNS:localhost", foreign_ca_.get(), foreign_key_.get(), -60,
       kHourS, false},
  };
  const Key key = NewKey();
  for (const auto& row : rows) {
    SCOPED_TRACE(row.name);
    const Certificate certificate =
        NewCertificate("localhost", row.alternative_names, key.get(), row.issuer, row.issuer_key,
                       row.from_s, row.until_s);
    const std::unique_ptr<SSL_CTX, decltype(&SSL_CTX_free)> context(
        SSL_CTX_new(TLS_server_method()), &SSL_CTX_free);
    ASSERT_EQ(SSL_CTX_use_certificate(context.get(), certificate.get()), 1);
    ASSERT_EQ(SSL_CTX_use_PrivateKey(context.get(), key.get()), 1);
    std::atomic<int> bytes_read = 0;
    std::atomic<int> handshakes_begun = 0;
    {
      const Listener listener([&](int fd) {
        SSL* ssl = SSL_new(context.get());
        SSL_set_fd(ssl, fd);
        // With TLS 1.3 the server's side may end before the client judges the certificate.
        SSL_accept(ssl);
        handshakes_begun += SSL_get_current_cipher(ssl) != nullptr ? 1 : 0;
        char block[4096];
        const int got = SSL_read(ssl, block, sizeof block);
        if (got > 0) {
          bytes_read += got;
          const std::string answer = HttpText(
              "200 OK", R"({"_id":"5f0000000000000000000001","status_code":200})");
          SSL_write(ssl, answer.data(), static_cast<int>(answer.size()));
        }
        SSL_free(ssl);
      });
      const auto created = Create(listener.Url("https", "localhost"), ca_file_);
      if (row.right) {
        EXPECT_TRUE(created) << created.error().error.Message();
      } else {
        ExpectNeverSent(created);
      }
      // The system's CAs know none of these.
      ExpectNeverSent(Create(listener.Url("https", "localhost"), ""));
    }
    EXPECT_EQ(handshakes_begun, 2);
    EXPECT_EQ(bytes_read > 0, row.right);
  }
}

TEST_F(TlsTest, PlainHttpBehindAnHttpsUrl_TakesNothing) {
  std::atomic<bool> was_told = false;
  {
    const Listener listener([&](int fd) {
      WriteAll(fd, HttpText("200 OK", R"({"_id":"5f0000000000000000000001"})"));
      char block[4096];
      ssize_t got = 0;
      std::string all;
      while ((got = recv(fd, block, sizeof block, 0)) > 0) {
        all.append(block, static_cast<std::size_t>(got));
      }
      was_told = was_told || all.contains("canary") || all.contains("/api");
    });
    ExpectNeverSent(Create(listener.Url("https", "127.0.0.1"), ca_file_));
  }
  EXPECT_FALSE(was_told);
}

TEST_F(TlsTest, ACaFileThatIsNotThere_IsSaidAndNothingLeaves) {
  const Listener listener([](int) {});
  ExpectNeverSent(Create(listener.Url("https", "127.0.0.1"), folder_.Path() / "none.pem"));
}

}  // namespace
}  // namespace oauthvault::rivery
