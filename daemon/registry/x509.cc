#include "daemon/registry/x509.h"

#include <openssl/asn1.h>
#include <openssl/core_names.h>
#include <openssl/obj_mac.h>
#include <openssl/pem.h>
#include <openssl/sha.h>

#include <algorithm>
#include <array>
#include <ctime>
#include <utility>
#include "crypto/hex.h"

namespace oauthvault::registry {
namespace {

constexpr std::size_t kSerialSize = 16;
constexpr int kMinRsaBits = 2048;
constexpr int kMaxRsaBits = 8192;

/// Without this an encrypted PEM asks for its passphrase on the terminal.
int NoPassphrase(char*, int, int, void*) { return -1; }

}  // namespace

Bio ReadOnly(const void* data, std::size_t size_bytes) {
  if (size_bytes > INT32_MAX) return nullptr;
  return Bio(BIO_new_mem_buf(data, static_cast<int>(size_bytes)));
}

Certificate ReadCertificate(std::string_view pem) {
  const Bio bio = ReadOnly(pem.data(), pem.size());
  return Certificate(bio ? PEM_read_bio_X509(bio.get(), nullptr, NoPassphrase, nullptr) : nullptr);
}

std::vector<Certificate> ReadCertificates(std::string_view pem, std::size_t limit) {
  const Bio bio = ReadOnly(pem.data(), pem.size());
  std::vector<Certificate> read;
  while (bio && !BIO_eof(bio.get())) {
    Certificate one(PEM_read_bio_X509(bio.get(), nullptr, NoPassphrase, nullptr));
    if (!one) {
      // Text behind the last certificate is no certificate; anything else is.
      if (ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE) break;
      return {};
    }
    if (read.size() == limit) return {};
    read.push_back(std::move(one));
  }
  return read;
}

Request ReadRequest(std::string_view pem) {
  const Bio bio = ReadOnly(pem.data(), pem.size());
  return Request(bio ? PEM_read_bio_X509_REQ(bio.get(), nullptr, NoPassphrase, nullptr) : nullptr);
}

Key ReadKey(const crypto::SecretBytes& pem) {
  return pem.Expose([](std::span<const std::uint8_t> bytes) {
    const Bio bio = ReadOnly(bytes.data(), bytes.size());
    return Key(bio ? PEM_read_bio_PrivateKey(bio.get(), nullptr, NoPassphrase, nullptr) : nullptr);
  });
}

std::string WriteCertificate(X509* certificate) {
  const Bio bio(BIO_new(BIO_s_mem()));
  if (!bio || PEM_write_bio_X509(bio.get(), certificate) != 1) return {};
  char* data = nullptr;
  const long size_bytes = BIO_get_mem_data(bio.get(), &data);
  if (data == nullptr || size_bytes <= 0) return {};
  return {data, static_cast<std::size_t>(size_bytes)};
}

std::string SerialHex(const X509* certificate) {
  const Number serial(ASN1_INTEGER_to_BN(X509_get0_serialNumber(certificate), nullptr));
  std::array<std::uint8_t, 20> bytes{};
  if (!serial || BN_is_negative(serial.get()) || BN_is_zero(serial.get()) ||
      BN_bn2binpad(serial.get(), bytes.data(), static_cast<int>(bytes.size())) < 0) {
    return {};
  }
  const std::string hex = crypto::HexOf(bytes);
  const std::size_t padding = std::min(hex.find_first_not_of('0'), hex.size() - 2 * kSerialSize);
  return hex.substr(padding);
}

std::string FingerprintOf(const X509* certificate) {
  std::array<std::uint8_t, SHA256_DIGEST_LENGTH> hash{};
  unsigned int size_bytes = 0;
  if (X509_digest(certificate, EVP_sha256(), hash.data(), &size_bytes) != 1) return {};
  return crypto::HexOf(hash);
}

std::string KeyHashOf(EVP_PKEY* key) {
  std::uint8_t* der = nullptr;
  const int size_bytes = i2d_PUBKEY(key, &der);
  if (size_bytes <= 0) return {};
  std::array<std::uint8_t, SHA256_DIGEST_LENGTH> hash{};
  SHA256(der, static_cast<std::size_t>(size_bytes), hash.data());
  OPENSSL_free(der);
  return crypto::HexOf(hash);
}

std::optional<std::int64_t> ToSeconds(const ASN1_TIME* time) {
  std::tm parts{};
  if (time == nullptr || ASN1_TIME_to_tm(time, &parts) != 1) return std::nullopt;
  return static_cast<std::int64_t>(timegm(&parts));
}

Names NamesOf(const X509* certificate) {
  // Absent and doubled extensions both give none.
  return Names(static_cast<GENERAL_NAMES*>(
      X509_get_ext_d2i(certificate, NID_subject_alt_name, nullptr, nullptr)));
}

std::optional<std::string> OnlyUri(const GENERAL_NAMES* names) {
  std::optional<std::string> uri;
  for (int i = 0; i < sk_GENERAL_NAME_num(names); ++i) {
    int type = -1;
    const void* value = GENERAL_NAME_get0_value(sk_GENERAL_NAME_value(names, i), &type);
    if (type != GEN_URI) continue;
    if (uri) return std::nullopt;
    const auto* text = static_cast<const ASN1_STRING*>(value);
    uri.emplace(reinterpret_cast<const char*>(ASN1_STRING_get0_data(text)),
                static_cast<std::size_t>(ASN1_STRING_length(text)));
  }
  return uri;
}

bool IsAcceptedKey(EVP_PKEY* key) {
  switch (EVP_PKEY_get_base_id(key)) {
    case EVP_PKEY_ED25519:
      return true;
    case EVP_PKEY_RSA:
      return EVP_PKEY_get_bits(key) >= kMinRsaBits && EVP_PKEY_get_bits(key) <= kMaxRsaBits;
    case EVP_PKEY_EC: {
      int is_explicit = 0;
      if (EVP_PKEY_get_int_param(key, OSSL_PKEY_PARAM_EC_DECODED_FROM_EXPLICIT_PARAMS,
                                 &is_explicit) == 1 &&
          is_explicit != 0) {
        return false;
      }
      std::array<char, 64> group{};
      std::size_t group_size = 0;
      if (EVP_PKEY_get_group_name(key, group.data(), group.size(), &group_size) != 1) return false;
      const std::string_view name(group.data(), group_size);
      return name == SN_X9_62_prime256v1 || name == SN_secp384r1;
    }
    default:
      return false;
  }
}

}  // namespace oauthvault::registry
