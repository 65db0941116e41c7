#pragma once

#include <cstdint>
#include <iterator>
#include <nlohmann/json.hpp>
#include <random>
#include <string>
#include <string_view>

namespace oauthvault::fakes {

/// Makes documents of every shape from a seed.
class Generator {
 public:
  using Json = nlohmann::ordered_json;

  explicit Generator(std::uint32_t seed) : random_(seed) {}

  std::uint32_t Below(std::uint32_t limit) { return static_cast<std::uint32_t>(random_()) % limit; }

  std::string String() {
    static constexpr std::string_view kPieces[] = {
        "a", "Z", "0", " ", "\"", "\\", "/", "\n", "\t", "\r", "\b", "\f", "\x01", "\x1f", "\x7f",
        "\u00e9", "\u20ac", "\U0001F511", "\u2028", "#", "{", "}", "KBC::", ",\"", "\\u0041"};
    std::string text;
    for (std::uint32_t i = Below(8); i > 0; --i) text += kPieces[Below(std::size(kPieces))];
    return Below(20) == 0 ? text + '\0' : text;
  }

  /// One of three begins with `#`.
  std::string Key() { return Below(3) == 0 ? '#' + String() : String(); }

  Json Value(int depth) {
    switch (Below(depth > 0 ? 9 : 7)) {
      case 0: return nullptr;
      case 1: return Below(2) == 0;
      case 2: return random_();
      case 3: return -static_cast<std::int64_t>(random_() >> 1U);
      case 4: return static_cast<double>(random_()) / 7e9;
      case 5: return 1.0 * Below(3);
      case 6: return String();
      case 7: {
        Json array = Json::array();
        for (std::uint32_t i = Below(4); i > 0; --i) array.push_back(Value(depth - 1));
        return array;
      }
      default: return Object(depth);
    }
  }

  Json Object(int depth) {
    Json object = Json::object();
    for (std::uint32_t i = Below(5); i > 0; --i) object[Key()] = Value(depth - 1);
    return object;
  }

  /// A configuration with an id to look up, `authorization` somewhere among other keys.
  Json Document() {
    Json document = Object(4);
    document["authorization"]["oauth_api"]["id"] = "main";
    if (Below(2) == 0) document["authorization"]["oauth_api"]["version"] = Value(2);
    for (std::uint32_t i = Below(4); i > 0; --i) document["after" + String()] = Value(4);
    return document;
  }

  /// The same document, spelled in one of four ways.
  std::string Spelled(const Json& document) {
    return document.dump(Below(2) == 0 ? -1 : 2, ' ', Below(2) == 0);
  }

 private:
  std::mt19937_64 random_;
};

}  // namespace oauthvault::fakes
