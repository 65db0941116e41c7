#include "tests/crypto/stretching.h"

#include <cstddef>

namespace oauthvault::crypto {

int stretchings = 0;

}  // namespace oauthvault::crypto

extern "C" {
int __real_crypto_pwhash(unsigned char* out, unsigned long long out_size, const char* passphrase,
                         unsigned long long size, const unsigned char* salt,
                         unsigned long long passes, std::size_t memory, int algorithm);

int __wrap_crypto_pwhash(unsigned char* out, unsigned long long out_size, const char* passphrase,
                         unsigned long long size, const unsigned char* salt,
                         unsigned long long passes, std::size_t memory, int algorithm) {
  ++oauthvault::crypto::stretchings;
  return __real_crypto_pwhash(out, out_size, passphrase, size, salt, passes, memory, algorithm);
}
}
