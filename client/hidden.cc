#include "client/hidden.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>

#include "client/configuration.h"

namespace oauthvault::client {
namespace {

using nlohmann::json;

constexpr std::string_view kLowerHex = "0123456789abcdef";
constexpr std::string_view kUpperHex = "0123456789ABCDEF";

/// A secret within a secret within one: that deep JSON is looked for in strings of JSON.
constexpr int kMaxNesting = 3;

enum class Slash : bool { kPlain, kEscaped };
enum class Wide : bool { kPlain, kEscaped };

bool IsAsciiAlphanumeric(char c) {
  return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

void AppendUnit(std::uint32_t unit, std::string_view hex, std::string& out) {
  out += "\\u";
  for (int shift = 12; shift >= 0; shift -= 4) out += hex[(unit >> shift) & 15U];
}

/// The code point that begins at `at`, which is moved behind it; nothing where no UTF-8 stands.
std::optional<std::uint32_t> TakeCodePoint(std::string_view text, std::size_t& at) {
  const auto lead = static_cast<unsigned char>(text[at]);
  const int following = lead >= 0xF0 ? 3 : lead >= 0xE0 ? 2 : lead >= 0xC0 ? 1 : -1;
  if (following < 0 || at + static_cast<std::size_t>(following) >= text.size()) return std::nullopt;
  std::uint32_t point = lead & (0x3FU >> following);
  for (int i = 1; i <= following; ++i) {
    const auto next = static_cast<unsigned char>(text[at + static_cast<std::size_t>(i)]);
    if ((next & 0xC0U) != 0x80) return std::nullopt;
    point = (point << 6U) | (next & 0x3FU);
  }
  at += static_cast<std::size_t>(following) + 1;
  return point;
}

/// The inside of a JSON string (RFC 8259, section 7).
std::string JsonEscaped(std::string_view text, Slash slash, Wide wide, std::string_view hex) {
  std::string out;
  for (std::size_t at = 0; at < text.size();) {
    const char c = text[at];
    const auto byte = static_cast<unsigned char>(c);
    if (byte >= 0x80 && wide == Wide::kEscaped) {
      if (const auto point = TakeCodePoint(text, at)) {
        if (*point < 0x10000) {
          AppendUnit(*point, hex, out);
        } else {
          AppendUnit(0xD800 + ((*point - 0x10000) >> 10U), hex, out);
          AppendUnit(0xDC00 + ((*point - 0x10000) & 0x3FFU), hex, out);
        }
        continue;
      }
    }
    ++at;
    switch (c) {
      case '"': out += "\\\""; break;
      case '\\': out += "\\\\"; break;
      case '\b': out += "\\b"; break;
      case '\f': out += "\\f"; break;
      case '\n': out += "\\n"; break;
      case '\r': out += "\\r"; break;
      case '\t': out += "\\t"; break;
      case '/': out += slash == Slash::kEscaped ? "\\/" : "/"; break;
      default:
        if (byte < 0x20) {
          AppendUnit(byte, hex, out);
        } else {
          out += c;
        }
    }
  }
  return out;
}

/// RFC 3986, section 2.1; `plain` are the characters that stay beside letters and digits.
std::string UrlEncoded(std::string_view text, std::string_view plain, std::string_view space,
                       std::string_view hex) {
  std::string out;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (IsAsciiAlphanumeric(c) || plain.find(c) != std::string_view::npos) {
      out += c;
    } else if (c == ' ') {
      out += space;
    } else {
      out += '%';
      out += hex[byte >> 4U];
      out += hex[byte & 15U];
    }
  }
  return out;
}

std::string UrlDecoded(std::string_view text) {
  const auto digit = [](char c) {
    const std::size_t lower = kLowerHex.find(c);
    return lower != std::string_view::npos ? lower : kUpperHex.find(c);
  };
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const std::size_t high = i + 2 < text.size() && text[i] == '%' ? digit(text[i + 1])
                                                                       : std::string_view::npos;
    const std::size_t low =
        high != std::string_view::npos ? digit(text[i + 2]) : std::string_view::npos;
    if (low != std::string_view::npos) {
      out += static_cast<char>(high * 16 + low);
      i += 2;
    } else {
      out += text[i] == '+' ? ' ' : text[i];
    }
  }
  return out;
}

/// The characters of base64 (RFC 4648, section 4) that a text makes for itself when `before` bytes
/// stand before it in its group of three: those that mix it with its neighbours are left out.
std::string Base64Core(std::string_view text, std::size_t before) {
  static constexpr std::string_view kAlphabet =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  const std::size_t bits = 8 * text.size();
  const auto bit = [&](std::size_t at) {
    return (static_cast<unsigned char>(text[at / 8]) >> (7 - at % 8)) & 1U;
  };
  // 8 bits before it use up one character and 2 bits of the next; 16 two and 4.
  for (std::size_t at = before == 0 ? 0 : 6 - (8 * before) % 6; at + 6 <= bits; at += 6) {
    unsigned value = 0;
    for (std::size_t i = 0; i < 6; ++i) value = value << 1U | bit(at + i);
    out += kAlphabet[value];
  }
  return out;
}

void WipeAll(std::vector<std::string>& texts) {
  for (std::string& text : texts) crypto::Wipe(text);
}

/// The secrets of a configuration, as they were found.
class Found {
 public:
  ~Found() { WipeAll(secrets_); }

  void Walk(const json& value, bool hidden) {  // NOLINT(misc-no-recursion): depth is bounded
    if (value.is_object()) {
      for (const auto& [key, part] : value.items()) Walk(part, hidden || key.starts_with('#'));
    } else if (value.is_array()) {
      for (const json& part : value) Walk(part, hidden);
    } else if (hidden && value.is_string()) {
      const auto& text = value.get_ref<const std::string&>();
      Add(text, kMinHiddenSize);
      AddParts(text, kMaxNesting);
    } else if (hidden && value.is_number()) {
      Add(value.dump(), kMinHiddenSize);
    }
  }

  HiddenTexts Texts() const {
    std::vector<std::string> all;
    for (const std::string& secret : secrets_) {
      for (std::string& form : FormsOf(secret)) all.push_back(std::move(form));
    }
    HiddenTexts texts(all);
    WipeAll(all);
    return texts;
  }

 private:
  void Add(std::string_view text, std::size_t least) {
    if (text.size() >= least) secrets_.emplace_back(text);
  }

  void AddParts(const std::string& text, int nesting) {  // NOLINT(misc-no-recursion): bounded
    bool too_deep = false;
    const auto bounded = [&](int depth, json::parse_event_t, json&) {
      too_deep = too_deep || depth > kMaxConfigurationDepth;
      return !too_deep;
    };
    const json parsed = json::parse(text, bounded, false);
    if (parsed.is_structured() && !too_deep) {
      if (nesting > 0) AddStringsOf(parsed, nesting);
    } else if (text.find('\n') != std::string::npos) {
      AddSplit(text, "\r\n");
    } else if (text.find('=') != std::string::npos) {
      AddForm(text);
    }
  }

  void AddStringsOf(const json& value, int nesting) {  // NOLINT(misc-no-recursion): bounded
    if (value.is_structured()) {
      for (const json& part : value) AddStringsOf(part, nesting);
    } else if (value.is_string()) {
      const auto& text = value.get_ref<const std::string&>();
      Add(text, kMinHiddenPartSize);
      AddParts(text, nesting - 1);
    }
  }

  void AddSplit(std::string_view text, std::string_view at) {
    for (std::size_t begin = 0; begin < text.size();) {
      const std::size_t end = std::min(text.find_first_of(at, begin), text.size());
      Add(text.substr(begin, end - begin), kMinHiddenPartSize);
      begin = end + 1;
    }
  }

  /// `oauth_token=..&oauth_token_secret=..`, as providers of OAuth 1.0a answer.
  void AddForm(std::string_view text) {
    for (std::size_t begin = 0; begin < text.size();) {
      const std::size_t end = std::min(text.find('&', begin), text.size());
      const std::string_view field = text.substr(begin, end - begin);
      if (const std::size_t equals = field.find('='); equals != std::string_view::npos) {
        Add(field.substr(equals + 1), kMinHiddenPartSize);
        Add(UrlDecoded(field.substr(equals + 1)), kMinHiddenPartSize);
      }
      begin = end + 1;
    }
  }

  std::vector<std::string> secrets_;
};

}  // namespace

std::vector<std::string> FormsOf(std::string_view secret) {
  std::vector<std::string> forms;
  forms.emplace_back(secret);
  for (const Slash slash : {Slash::kPlain, Slash::kEscaped}) {
    for (const Wide wide : {Wide::kPlain, Wide::kEscaped}) {
      for (const std::string_view hex : {kLowerHex, kUpperHex}) {
        std::string once = JsonEscaped(secret, slash, wide, hex);
        // A string of JSON within a string of JSON, as `#data` is within config.json.
        forms.push_back(JsonEscaped(once, Slash::kPlain, Wide::kPlain, hex));
        forms.push_back(std::move(once));
      }
    }
  }
  for (const std::size_t before : {0, 1, 2}) {
    std::string core = Base64Core(secret, before);
    std::string for_urls = core;  // RFC 4648, section 5
    std::ranges::replace(for_urls, '+', '-');
    std::ranges::replace(for_urls, '/', '_');
    forms.push_back(std::move(core));
    forms.push_back(std::move(for_urls));
  }
  struct Rule {
    std::string_view plain;
    std::string_view space;
  };
  static constexpr std::array<Rule, 5> kRules = {{
      {"-_.~", "%20"},       // RFC 3986, section 2.3; PHP's rawurlencode
      {"-_.~/", "%20"},      // Python's quote
      {"-_.!~*'()", "%20"},  // JavaScript's encodeURIComponent
      {"-_.", "+"},          // PHP's urlencode
      {"-_.~", "+"},         // Python's quote_plus, Go's QueryEscape
  }};
  for (const Rule& rule : kRules) {
    for (const std::string_view hex : {kLowerHex, kUpperHex}) {
      forms.push_back(UrlEncoded(secret, rule.plain, rule.space, hex));
    }
  }
  std::erase(forms, "");
  std::ranges::sort(forms);
  const auto twice = std::ranges::unique(forms);
  for (std::string& form : twice) crypto::Wipe(form);
  forms.erase(twice.begin(), twice.end());
  return forms;
}

Outcome<HiddenTexts> HideSecretsOf(const crypto::SecretBytes& configuration) {
  return configuration.Expose([](std::span<const std::uint8_t> bytes) -> Outcome<HiddenTexts> {
    const json document = json::parse(bytes.begin(), bytes.end(), nullptr, false);
    if (document.is_discarded()) {
      return Refuse(Code::kInvalid, "the finished configuration is not valid JSON");
    }
    Found found;
    found.Walk(document, false);
    return found.Texts();
  });
}

}  // namespace oauthvault::client
