#include "client/configuration.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace oauthvault::client {
namespace {

using nlohmann::ordered_json;

constexpr std::string_view kSealedPrefix = "KBC::";

/// Whether a sealed value stands under a `#` key, or in a list under one.
bool HoldsSealedValue(const ordered_json& json, bool hash_key) {  // NOLINT(misc-no-recursion):
  // the depth is bounded
  if (json.is_string()) {
    return hash_key && json.get_ref<const std::string&>().starts_with(kSealedPrefix);
  }
  if (json.is_array()) {
    return std::any_of(json.begin(), json.end(), [hash_key](const ordered_json& part) {
      return HoldsSealedValue(part, hash_key);
    });
  }
  if (!json.is_object()) return false;
  const auto& members = json.get_ref<const ordered_json::object_t&>();
  return std::any_of(members.begin(), members.end(), [](const auto& member) {
    return HoldsSealedValue(member.second, member.first.starts_with('#'));
  });
}

/// null, {} and [] (which is how some languages write an empty object).
bool IsNothing(const ordered_json& json) {
  return json.is_null() || (json.is_structured() && json.empty());
}

crypto::SecretBytes Written(const ordered_json& document) {
  std::string text = document.dump(-1, ' ', false, ordered_json::error_handler_t::replace);
  auto bytes = crypto::SecretBytes::CopyOf(text);
  crypto::Wipe(text);
  return bytes;
}

/// Puts `"authorization":{}` before the object's last brace: everything else, numbers of any
/// precision too, stays byte for byte.
crypto::SecretBytes WithAuthorization(std::string_view text, bool empty_object) {
  const std::size_t brace = text.rfind('}');
  std::string filled(text.substr(0, brace));
  filled.reserve(text.size() + 32);
  if (!empty_object) filled += ',';
  filled += R"("authorization":{})";
  filled += text.substr(brace);
  auto bytes = crypto::SecretBytes::CopyOf(filled);
  crypto::Wipe(filled);
  return bytes;
}

}  // namespace

Outcome<std::optional<crypto::SecretBytes>> FinishWithoutVault(
    std::span<const std::uint8_t> configuration, OauthIdInOutput oauth_id, Injected injected) {
  using Finished = std::optional<crypto::SecretBytes>;
  const std::string_view text(reinterpret_cast<const char*>(configuration.data()),
                              configuration.size());
  bool too_deep = false;
  const auto bounded = [&](int depth, ordered_json::parse_event_t, ordered_json&) {
    too_deep = too_deep || depth > kMaxConfigurationDepth;
    return !too_deep;
  };
  ordered_json document = ordered_json::parse(text.begin(), text.end(), bounded, false);
  if (too_deep) return Refuse(Code::kInvalid, "the configuration has more than 64 levels");
  if (document.is_discarded()) {
    return Refuse(Code::kInvalid, "the configuration is not valid JSON in UTF-8; nothing was "
                                  "written");
  }
  if (!document.is_object()) {
    return Refuse(Code::kInvalid, "the configuration is not a JSON object; nothing was written");
  }
  if (injected == Injected::kClear && HoldsSealedValue(document, false)) return Finished();
  const auto authorization = document.find("authorization");
  if (authorization == document.end()) return WithAuthorization(text, document.empty());
  if (IsNothing(*authorization)) {
    if (authorization->is_object()) return crypto::SecretBytes::CopyOf(text);
    *authorization = ordered_json::object();
    return Written(document);
  }
  if (!authorization->is_object()) {
    return Refuse(Code::kInvalid, "`authorization` in the configuration is not an object");
  }
  for (const auto& [key, value] : authorization->items()) {
    if (key != "oauth_api") {
      return Refuse(Code::kInvalid, "`authorization` in the configuration has a key other than "
                                    "`oauth_api`");
    }
  }
  ordered_json& oauth_api = authorization->front();
  if (IsNothing(oauth_api)) return crypto::SecretBytes::CopyOf(text);
  if (!oauth_api.is_object()) {
    return Refuse(Code::kInvalid, "`authorization.oauth_api` in the configuration is no object");
  }
  const auto id = oauth_api.find("id");
  if (!oauth_api.contains("credentials")) {
    if (id != oauth_api.end() && !id->is_null()) return Finished();
    return crypto::SecretBytes::CopyOf(text);
  }
  if (oauth_id == OauthIdInOutput::kDropped &&
      (id != oauth_api.end() || oauth_api.contains("version"))) {
    oauth_api.erase("id");
    oauth_api.erase("version");
    return Written(document);
  }
  return crypto::SecretBytes::CopyOf(text);
}

}  // namespace oauthvault::client
