#include "daemon/custody/fingerprints.h"

#include <sodium.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <span>
#include <utility>

#include "crypto/fields.h"
#include "crypto/hex.h"
#include "crypto/sealed.h"

namespace oauthvault::custody {
namespace {

using nlohmann::json;

// Keeps the longest texts of a document, whatever stands around them. Wiped at the end.
class Leaves final : public nlohmann::json_sax<json> {
 public:
  Leaves() = default;
  ~Leaves() override {
    for (std::string& text : texts_) crypto::Wipe(text);
  }
  Leaves(const Leaves&) = delete;
  Leaves& operator=(const Leaves&) = delete;

  const std::vector<std::string>& Longest() const { return texts_; }

  bool string(std::string& text) override {
    if (text.size() >= kMinLeafSize &&
        std::ranges::find(texts_, text) == texts_.end()) {
      const auto place = std::ranges::find_if(
          texts_, [&](const std::string& kept) { return kept.size() < text.size(); });
      texts_.insert(place, text);
      if (texts_.size() > kMaxLeaves) {
        crypto::Wipe(texts_.back());
        texts_.pop_back();
      }
    }
    crypto::Wipe(text);
    return true;
  }

  bool null() override { return true; }
  bool boolean(bool) override { return true; }
  bool number_integer(json::number_integer_t) override { return true; }
  bool number_unsigned(json::number_unsigned_t) override { return true; }
  bool number_float(json::number_float_t, const std::string&) override { return true; }
  bool binary(json::binary_t&) override { return true; }
  bool start_object(std::size_t) override { return true; }
  bool key(std::string&) override { return true; }
  bool end_object() override { return true; }
  bool start_array(std::size_t) override { return true; }
  bool end_array() override { return true; }
  bool parse_error(std::size_t, const std::string&, const json::exception&) override {
    return false;
  }

 private:
  std::vector<std::string> texts_;
};

std::string HashOf(const crypto::SecretBytes& key, std::string_view project,
                   std::string_view value) {
  const std::array<std::string_view, 3> fields = {"oauthvault/fingerprint", project, value};
  const auto hash = crypto::KeyedHash(key, fields, kFingerprintSize);
  return {hash.begin(), hash.end()};
}

std::string_view ViewOf(std::span<const std::uint8_t> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

}  // namespace

std::string FingerprintOf(const crypto::SecretBytes& key, std::string_view project,
                          const crypto::SecretBytes& value) {
  return value.Expose([&](std::span<const std::uint8_t> bytes) {
    return HashOf(key, project, ViewOf(bytes));
  });
}

std::vector<std::string> FingerprintsOf(const crypto::SecretBytes& key, std::string_view project,
                                        const crypto::SecretBytes& data) {
  std::vector<std::string> fingerprints{FingerprintOf(key, project, data)};
  Leaves leaves;
  const bool is_json = data.Expose([&](std::span<const std::uint8_t> bytes) {
    return json::sax_parse(bytes.begin(), bytes.end(), &leaves);
  });
  if (!is_json) return fingerprints;
  for (const std::string& text : leaves.Longest()) {
    fingerprints.push_back(HashOf(key, project, text));
  }
  return fingerprints;
}

std::string TextOf(const std::vector<std::string>& fingerprints) {
  std::string text;
  text.reserve(fingerprints.size() * (2 * kFingerprintSize + 1));
  for (const std::string& fingerprint : fingerprints) {
    if (!text.empty()) text += ' ';
    text += crypto::HexOf(crypto::AsBytes(fingerprint));
  }
  return text;
}

}  // namespace oauthvault::custody
