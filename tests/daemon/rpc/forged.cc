#include "tests/daemon/rpc/forged.h"

#include <gtest/gtest.h>
#include <openssl/bio.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>

#include <memory>
#include <span>
#include "daemon/registry/x509.h"

namespace oauthvault::rpc {
namespace {

using registry::Bio;
using registry::Certificate;
using registry::FreeBy;
using registry::Key;

Bio Reading(const std::string& text) {
  return Bio(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
}

std::string Written(const Bio& bio) {
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio.get(), &data);
  return {data, static_cast<std::size_t>(size)};
}

void Extend(X509* certificate, X509* issuer, int nid, const std::string& value) {
  if (value.empty()) return;
  X509V3_CTX context;
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  X509V3_set_ctx_nodb(&context);
  X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, &context, nid, value.c_str());
  EXPECT_NE(extension, nullptr) << value;
  if (extension == nullptr) return;
  X509_add_ext(certificate, extension, -1);
  X509_EXTENSION_free(extension);
}

}  // namespace

ForgedCa Astray(const registry::CertificateAuthority::Material& authority) {
  ForgedCa ca{.certificate_pem = authority.certificate_pem};
  authority.key.Bytes().Expose([&ca](std::span<const std::uint8_t> pem) {
    ca.key_pem.assign(reinterpret_cast<const char*>(pem.data()), pem.size());
  });
  return ca;
}

ClientIdentity Forge(const Forgery& forgery) {
  const Key key(forgery.rsa_bits == 0
                    ? EVP_EC_gen(forgery.curve)
                    : EVP_RSA_gen(static_cast<unsigned int>(forgery.rsa_bits)));
  const Certificate made(X509_new());
  X509* certificate = made.get();
  X509_set_version(certificate, X509_VERSION_3);
  std::uint64_t serial = 0;
  RAND_bytes(reinterpret_cast<unsigned char*>(&serial), sizeof serial);
  ASN1_INTEGER_set_uint64(X509_get_serialNumber(certificate), serial | 1);
  X509_gmtime_adj(X509_getm_notBefore(certificate), forgery.begins_in_s);
  X509_gmtime_adj(X509_getm_notAfter(certificate), forgery.ends_in_s);
  X509_NAME_add_entry_by_NID(
      X509_get_subject_name(certificate),
      forgery.common_name.empty() ? NID_organizationName : NID_commonName, MBSTRING_ASC,
      reinterpret_cast<const unsigned char*>(
          forgery.common_name.empty() ? "forged" : forgery.common_name.c_str()),
      -1, -1, 0);
  X509_set_pubkey(certificate, key.get());
  Certificate issuer;
  Key issuer_key;
  if (forgery.issuer != nullptr) {
    issuer.reset(PEM_read_bio_X509(Reading(forgery.issuer->certificate_pem).get(), nullptr,
                                   nullptr, nullptr));
    issuer_key.reset(PEM_read_bio_PrivateKey(Reading(forgery.issuer->key_pem).get(), nullptr,
                                             nullptr, nullptr));
  }
  X509* signer = issuer ? issuer.get() : certificate;
  X509_set_issuer_name(certificate, X509_get_subject_name(signer));
  Extend(certificate, signer, NID_basic_constraints, forgery.basic_constraints);
  Extend(certificate, signer, NID_key_usage, forgery.key_usage);
  Extend(certificate, signer, NID_ext_key_usage, forgery.extended_key_usage);
  Extend(certificate, signer, NID_subject_key_identifier, "hash");
  Extend(certificate, signer, NID_name_constraints, forgery.name_constraints);
  std::string names;
  for (const std::string& name : forgery.names) names += (names.empty() ? "" : ",") + name;
  Extend(certificate, signer, NID_subject_alt_name, names);
  EXPECT_GT(X509_sign(certificate, issuer_key ? issuer_key.get() : key.get(),
                      EVP_get_digestbyname(forgery.digest)),
            0);
  ClientIdentity identity;
  const Bio certificate_out(BIO_new(BIO_s_mem()));
  PEM_write_bio_X509(certificate_out.get(), certificate);
  identity.certificate_pem = Written(certificate_out);
  if (forgery.issuer != nullptr) identity.certificate_pem += forgery.issuer->chain_pem;
  const Bio key_out(BIO_new(BIO_s_mem()));
  PEM_write_bio_PKCS8PrivateKey(key_out.get(), key.get(), nullptr, nullptr, 0, nullptr, nullptr);
  identity.key_pem = Written(key_out);
  return identity;
}

ForgedCa ForgeCa(const std::string& common_name, const ForgedCa* issuer,
                 const std::string& basic_constraints, const std::string& name_constraints) {
  const ClientIdentity made = Forge(Forgery{.issuer = issuer,
                                            .names = {},
                                            .common_name = common_name,
                                            .basic_constraints = basic_constraints,
                                            .key_usage = "critical,keyCertSign,cRLSign",
                                            .extended_key_usage = "",
                                            .name_constraints = name_constraints,
                                            .ends_in_s = 24 * 3600});
  // An intermediate is sent along by its leaves.
  return {made.certificate_pem, made.key_pem, issuer == nullptr ? "" : made.certificate_pem};
}

}  // namespace oauthvault::rpc
