#include "tests/crypto/hex.h"

#include <sodium.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>

namespace oauthvault::crypto {

std::vector<std::uint8_t> FromHex(std::string_view digits) {
  std::vector<std::uint8_t> bytes(digits.size() / 2);
  if (digits.empty()) return bytes;
  std::size_t size = 0;
  const char* end = nullptr;
  if (sodium_hex2bin(bytes.data(), bytes.size(), digits.data(), digits.size(), nullptr, &size,
                     &end) != 0 ||
      size * 2 != digits.size()) {
    std::cerr << "not hex: " << digits << "\n";
    std::abort();
  }
  return bytes;
}

SecretBytes SecretFromHex(std::string_view digits) { return SecretBytes::CopyOf(FromHex(digits)); }

std::string ToHex(std::span<const std::uint8_t> bytes) {
  std::string digits(bytes.size() * 2 + 1, '\0');
  sodium_bin2hex(digits.data(), digits.size(), bytes.data(), bytes.size());
  digits.pop_back();
  return digits;
}

std::string ToHex(const SecretBytes& secret) {
  return secret.Expose([](std::span<const std::uint8_t> bytes) { return ToHex(bytes); });
}

std::vector<Vector> ReadVectors(std::string_view path) {
  std::ifstream in(std::filesystem::path(OAUTHVAULT_SOURCE_DIR) / "tests" / path);
  std::vector<Vector> vectors;
  Vector current;
  const auto finish = [&] {
    if (!current.empty()) vectors.push_back(std::move(current));
    current.clear();
  };
  for (std::string line; std::getline(in, line);) {
    if (line.empty()) finish();
    if (line.empty() || line.front() == '#') continue;
    const std::size_t equals = line.find(" =");
    if (equals == std::string::npos) std::abort();
    const std::size_t value = std::min(equals + 3, line.size());
    current[line.substr(0, equals)] = line.substr(value);
  }
  finish();
  if (vectors.empty()) {
    std::cerr << "no vectors in " << path << "\n";
    std::abort();
  }
  return vectors;
}

}  // namespace oauthvault::crypto
