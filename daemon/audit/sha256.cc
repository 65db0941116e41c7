#include "daemon/audit/sha256.h"

#include <openssl/evp.h>

#include <cstdlib>
#include <memory>

namespace oauthvault::audit {

Sha256Hash Sha256(std::optional<std::uint8_t> kind,
                  std::initializer_list<std::span<const std::uint8_t>> parts) {
  // Looked up once: that costs more than the hash. Never freed, as lines are written to the end.
  static EVP_MD* const algorithm = EVP_MD_fetch(nullptr, "SHA256", nullptr);
  struct Free {
    void operator()(EVP_MD_CTX* context) const { EVP_MD_CTX_free(context); }
  };
  // One for each thread: to make one costs as much as to hash a short text.
  thread_local const std::unique_ptr<EVP_MD_CTX, Free> context(EVP_MD_CTX_new());
  bool done = algorithm != nullptr && context != nullptr &&
              EVP_DigestInit_ex2(context.get(), algorithm, nullptr) == 1;
  if (kind) done = done && EVP_DigestUpdate(context.get(), &*kind, 1) == 1;
  for (const auto& part : parts) {
    done = done && EVP_DigestUpdate(context.get(), part.data(), part.size()) == 1;
  }
  Sha256Hash hash{};
  if (!done || EVP_DigestFinal_ex(context.get(), hash.data(), nullptr) != 1) std::abort();
  return hash;
}

}  // namespace oauthvault::audit
