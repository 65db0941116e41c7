#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "daemon/registry/authority.h"
#include "tests/daemon/rpc/vault_fixture.h"

namespace oauthvault::rpc {

/// A CA of a test: its certificate, its key, and the intermediates between it and its root.
struct ForgedCa {
  std::string certificate_pem;
  std::string key_pem;
  std::string chain_pem;  ///< what a leaf of it sends along; empty for a root
};
/// The built-in CA, gone astray.
ForgedCa Astray(const registry::CertificateAuthority::Material& authority);

/// A certificate as somebody may make it; the defaults are those of a good client.
struct Forgery {
  const ForgedCa* issuer = nullptr;  ///< null: signed by itself
  std::vector<std::string> names;    ///< as OpenSSL's configuration writes them: `URI:..`
  std::string common_name = {};
  std::string basic_constraints = "critical,CA:FALSE";  ///< empty: absent; so below
  std::string key_usage = "critical,digitalSignature";
  std::string extended_key_usage = "clientAuth";
  std::string name_constraints = {};
  std::int64_t begins_in_s = -60;
  std::int64_t ends_in_s = 3600;
  const char* digest = "SHA256";
  const char* curve = "P-256";
  int rsa_bits = 0;  ///< 0: on that curve
};
ClientIdentity Forge(const Forgery& forgery);
/// A root, or an intermediate of `issuer`. `basic_constraints` as for Forgery.
ForgedCa ForgeCa(const std::string& common_name, const ForgedCa* issuer = nullptr,
                 const std::string& basic_constraints = "critical,CA:TRUE",
                 const std::string& name_constraints = {});

}  // namespace oauthvault::rpc
