#include "daemon/rivery/json.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

namespace oauthvault::rivery {
namespace {

using Json = nlohmann::json;

constexpr std::size_t kMaxDepth = 32;
constexpr std::size_t kMaxKeysPerObject = 4096;
constexpr std::size_t kMaxJwsHeaderBytes = 4096;
constexpr std::string_view kItems = "items";
constexpr std::string_view kOid = "$oid";
constexpr std::string_view kDate = "$date";

bool EndsWithToken(std::string_view key) {
  constexpr std::string_view kToken = "token";
  if (key.size() < kToken.size()) return false;
  return std::ranges::equal(key.substr(key.size() - kToken.size()), kToken, [](char a, char b) {
    return (a >= 'A' && a <= 'Z' ? a - 'A' + 'a' : a) == b;
  });
}

/// Fills a Document while the parser runs. False from a callback ends the parser.
class Reader : public nlohmann::json_sax<Json> {
 public:
  Reader(const Wanted& wanted, Document& document) : wanted_(wanted), document_(document) {}

  bool HasTooManyItems() const { return has_too_many_items_; }

  bool null() override { return true; }
  bool boolean(bool value) override { return Keep(value); }
  bool number_integer(number_integer_t value) override { return Keep(std::int64_t{value}); }
  bool number_unsigned(number_unsigned_t value) override {
    if (!std::in_range<std::int64_t>(value)) return true;
    return Keep(static_cast<std::int64_t>(value));
  }
  bool number_float(number_float_t, const string_t&) override { return true; }
  bool binary(binary_t&) override { return false; }

  bool string(string_t& value) override {
    const bool keeps_on = KeepText(value);
    crypto::Wipe(value);  // the parser's own copy
    return keeps_on;
  }

  bool start_object(std::size_t) override {
    if (levels_.size() == kMaxDepth) return false;
    Level level{.is_object = true};
    if (levels_.empty()) {
      document_.is_object = true;
      level.row = &document_.fields;
    } else if (levels_.back().is_items) {
      if (!AddItem(level)) return false;
    } else if (levels_.size() == 1 && levels_[0].is_object && !wanted_.members_by.empty()) {
      if (!AddItem(level)) return false;
      (*level.row)[std::string(wanted_.members_by)] = levels_[0].key;
    } else if (levels_.back().row != nullptr) {
      level.id_of = levels_.back().row;
      level.id_key = levels_.back().key;
    }
    levels_.push_back(std::move(level));
    return true;
  }

  bool key(string_t& value) override {
    Level& level = levels_.back();
    if (level.keys.size() >= kMaxKeysPerObject || !level.keys.insert(value).second) return false;
    level.key = value;
    return true;
  }

  bool end_object() override { return End(); }

  bool start_array(std::size_t) override {
    if (levels_.size() == kMaxDepth) return false;
    Level level;
    level.is_items = levels_.empty() || (levels_.size() == 1 && levels_[0].is_object &&
                                         levels_[0].key == kItems);
    if (level.is_items) document_.is_list = true;
    levels_.push_back(std::move(level));
    return true;
  }

  bool end_array() override { return End(); }

  bool parse_error(std::size_t, const std::string&, const Json::exception&) override {
    return false;
  }

 private:
  struct Level {
    bool is_object = false;
    bool is_items = false;     // an array whose objects are items
    Fields* row = nullptr;     // where this object's fields go
    Fields* id_of = nullptr;   // where the text goes when this object is `{"$oid": text}`
    std::string id_key = {};
    std::string key = {};      // the last one read
    std::set<std::string> keys = {};
  };

  bool End() {
    levels_.pop_back();
    return true;
  }

  bool AddItem(Level& level) {
    if (document_.items.size() >= wanted_.max_items) {
      has_too_many_items_ = true;
      return false;
    }
    // No other item is being filled now, so that none is left dangling.
    level.row = &document_.items.emplace_back();
    return true;
  }

  bool Wants(std::string_view key) const {
    return std::ranges::find(wanted_.fields, key) != wanted_.fields.end();
  }

  bool Keep(FieldValue value) {
    if (levels_.empty()) return true;
    const Level& level = levels_.back();
    if (level.id_of != nullptr && level.key == kDate && Wants(level.id_key)) {
      (*level.id_of)[level.id_key] = std::move(value);
      return true;
    }
    if (level.row == nullptr) return true;
    if (Wants(level.key)) (*level.row)[level.key] = std::move(value);
    return true;
  }

  bool KeepText(const std::string& value) {
    if (levels_.empty() || !levels_.back().is_object) return true;
    const Level& level = levels_.back();
    if (!value.empty() && EndsWithToken(level.key)) {
      document_.holds_token = true;
      if (level.key == "access_token" || level.key == "refresh_token") {
        document_.holds_access_token = true;
      }
    }
    if (level.row == &document_.fields &&
        std::ranges::find(wanted_.secrets, level.key) != wanted_.secrets.end()) {
      document_.secrets[level.key] = crypto::SecretBytes::CopyOf(value);
      return true;
    }
    if (level.id_of != nullptr && level.key == kOid && Wants(level.id_key)) {
      (*level.id_of)[level.id_key] = value;
      return true;
    }
    return Keep(value);
  }

  const Wanted& wanted_;
  Document& document_;
  std::vector<Level> levels_;
  bool has_too_many_items_ = false;
};

}  // namespace

const std::string* TextAt(const Fields& fields, std::string_view key) {
  const auto found = fields.find(key);
  return found == fields.end() ? nullptr : std::get_if<std::string>(&found->second);
}

bool IsSet(const Fields& fields, std::string_view key) {
  const auto found = fields.find(key);
  if (found == fields.end()) return false;
  const bool* flag = std::get_if<bool>(&found->second);
  return flag != nullptr && *flag;
}

const std::string* Document::TextAt(std::string_view key) const {
  return rivery::TextAt(fields, key);
}

Result<Document> ReadDocument(const crypto::SecretBytes& text, const Wanted& wanted) {
  return text.Expose([&](std::span<const std::uint8_t> bytes) -> Result<Document> {
    Document document;
    document.is_empty = bytes.empty();
    if (document.is_empty) return document;
    // The parser takes a NUL for the end, and skips a byte order mark. Neither is JSON.
    if (std::memchr(bytes.data(), 0, bytes.size()) != nullptr || bytes.front() == 0xef) {
      return Fail(Code::kUnavailable, "Rivery's reply holds bytes that JSON cannot have");
    }
    Reader reader(wanted, document);
    if (!Json::sax_parse(bytes.begin(), bytes.end(), &reader)) {
      if (reader.HasTooManyItems()) {
        return Fail(Code::kExhausted, "Rivery lists more than is taken at once",
                    Subject::Number(static_cast<std::int64_t>(wanted.max_items)));
      }
      return Fail(Code::kUnavailable,
                  "Rivery's reply is not strict JSON; if this stays so, check the base URL");
    }
    return document;
  });
}

std::optional<std::string> Quoted(std::string_view text) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string quoted = "\"";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20) {
      quoted += "\\u00";
      quoted += kDigits[byte >> 4U];
      quoted += kDigits[byte & 0xfU];
      continue;
    }
    if (c == '"' || c == '\\') quoted += '\\';
    quoted += c;
  }
  quoted += '"';
  if (!Json::accept(quoted)) return std::nullopt;  // not UTF-8
  return quoted;
}

std::int64_t ExpiryOfJws(const crypto::SecretBytes& jws) {
  constexpr std::string_view kDigits =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
  static constexpr std::array<std::string_view, 1> kFields = {"exp"};
  std::string header;
  const bool is_readable = jws.Expose([&](std::span<const std::uint8_t> bytes) {
    const auto dot = std::ranges::find(bytes, std::uint8_t{'.'});
    if (dot == bytes.end()) return false;
    if (dot - bytes.begin() > std::ptrdiff_t{kMaxJwsHeaderBytes}) return false;
    unsigned bits = 0;
    unsigned held = 0;
    for (auto at = bytes.begin(); at != dot; ++at) {
      const std::size_t digit = kDigits.find(static_cast<char>(*at));
      if (digit == std::string_view::npos) return false;
      bits = ((bits << 6U) | static_cast<unsigned>(digit)) & 0xffffU;
      held += 6;
      if (held < 8) continue;
      held -= 8;
      header += static_cast<char>((bits >> held) & 0xffU);
    }
    return true;
  });
  if (!is_readable) return 0;
  const Result<Document> document =
      ReadDocument(crypto::SecretBytes::CopyOf(header), {.fields = kFields, .secrets = {}});
  if (!document) return 0;
  const auto found = document->fields.find("exp");
  if (found == document->fields.end()) return 0;
  const auto* at_s = std::get_if<std::int64_t>(&found->second);
  return at_s != nullptr && *at_s > 0 ? *at_s : 0;
}

}  // namespace oauthvault::rivery
