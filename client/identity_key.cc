#include "client/identity_key.h"

#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include <algorithm>
#include <cstdint>
#include <ctime>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

namespace oauthvault::client {
namespace {

template <auto kFree>
struct Freed {
  template <class T>
  void operator()(T* held) const {
    kFree(held);
  }
};
using Key = std::unique_ptr<EVP_PKEY, Freed<EVP_PKEY_free>>;
using Request = std::unique_ptr<X509_REQ, Freed<X509_REQ_free>>;
using Certificate = std::unique_ptr<X509, Freed<X509_free>>;
using Number = std::unique_ptr<BIGNUM, Freed<BN_free>>;
using Bio = std::unique_ptr<BIO, Freed<BIO_vfree>>;

/// What was written to a memory BIO; valid as long as the BIO.
std::span<std::uint8_t> Written(BIO* bio) {
  char* bytes = nullptr;
  const long size = BIO_get_mem_data(bio, &bytes);
  if (size <= 0) return {};
  return {reinterpret_cast<std::uint8_t*>(bytes), static_cast<std::size_t>(size)};
}

}  // namespace

Outcome<crypto::SecretBytes> MakeKey() {
  const Key key(EVP_EC_gen("P-256"));
  // A secure memory BIO is wiped when it is freed and when it grows.
  const Bio bio(BIO_new(BIO_s_secmem()));
  if (!key || !bio ||
      PEM_write_bio_PKCS8PrivateKey(bio.get(), key.get(), nullptr, nullptr, 0, nullptr, nullptr) !=
          1) {
    return Refuse(Code::kUnavailable, "OpenSSL cannot make a key");
  }
  return crypto::SecretBytes::CopyOf(Written(bio.get()));
}

Outcome<std::string> MakeCertificateRequest(const crypto::SecretBytes& key_pem) {
  const Bio in = key_pem.Expose([](std::span<const std::uint8_t> bytes) {
    return Bio(BIO_new_mem_buf(bytes.data(), static_cast<int>(bytes.size())));
  });
  const Key key(PEM_read_bio_PrivateKey(in.get(), nullptr, nullptr, nullptr));
  if (!key) return Refuse(Code::kInvalid, "the key is not a private key in PEM without a password");
  const Request request(X509_REQ_new());
  const Bio out(BIO_new(BIO_s_mem()));
  if (!request || !out || X509_REQ_set_version(request.get(), X509_REQ_VERSION_1) != 1 ||
      X509_REQ_set_pubkey(request.get(), key.get()) != 1 ||
      X509_REQ_sign(request.get(), key.get(), EVP_sha256()) == 0 ||
      PEM_write_bio_X509_REQ(out.get(), request.get()) != 1) {
    return Refuse(Code::kUnavailable, "OpenSSL cannot make a certificate request");
  }
  const auto pem = Written(out.get());
  return std::string(pem.begin(), pem.end());
}

Outcome<CertificateFacts> ReadCertificateFacts(const crypto::SecretBytes& certificate_pem) {
  const Bio in = certificate_pem.Expose([](std::span<const std::uint8_t> bytes) {
    return Bio(BIO_new_mem_buf(bytes.data(), static_cast<int>(bytes.size())));
  });
  const Certificate certificate(PEM_read_bio_X509(in.get(), nullptr, nullptr, nullptr));
  std::tm end{};
  if (!certificate || ASN1_TIME_to_tm(X509_get0_notAfter(certificate.get()), &end) != 1) {
    return Refuse(Code::kInvalid, "cert.pem is not a certificate in PEM");
  }
  // As the daemon writes serials: 16 bytes or more, two digits each.
  const Number serial(ASN1_INTEGER_to_BN(X509_get0_serialNumber(certificate.get()), nullptr));
  std::vector<std::uint8_t> bytes(
      serial ? static_cast<std::size_t>(std::max(16, BN_num_bytes(serial.get()))) : 0);
  if (bytes.empty() ||
      BN_bn2binpad(serial.get(), bytes.data(), static_cast<int>(bytes.size())) < 0) {
    return Refuse(Code::kUnavailable, "OpenSSL cannot read a serial");
  }
  CertificateFacts facts;
  for (const std::uint8_t byte : bytes) {
    constexpr std::string_view kDigits = "0123456789abcdef";
    facts.serial += kDigits[byte >> 4];
    facts.serial += kDigits[byte & 15];
  }
  facts.expires_at_s = timegm(&end);
  return facts;
}

}  // namespace oauthvault::client
