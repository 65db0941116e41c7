#include "daemon/custody/eight_keys.h"

#include <ctime>
#include <span>

namespace oauthvault::custody {

std::string CreatedText(std::int64_t seconds) {
  const std::time_t time = static_cast<std::time_t>(seconds);
  std::tm utc{};
  gmtime_r(&time, &utc);
  char text[32];
  const std::size_t size = std::strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S", &utc);
  return std::string(text, size);
}

void WriteEightKeys(JsonText& out, const EightKeys& keys) {
  const auto write_secret = [&out](std::span<const std::uint8_t> bytes) { out.String(bytes); };
  out.Raw(R"({"id":)");
  out.String(keys.id);
  out.Raw(R"(,"authorizedFor":)");
  out.String(keys.authorized_for);
  out.Raw(R"(,"creator":{"id":)");
  out.String(keys.creator_id);
  out.Raw(R"(,"description":)");
  out.String(keys.creator_description);
  out.Raw(R"(},"created":)");
  out.String(keys.created);
  out.Raw(R"(,"#data":)");
  keys.data.Bytes().Expose(write_secret);
  out.Raw(R"(,"oauthVersion":)");
  out.String(keys.oauth_version);
  out.Raw(R"(,"appKey":)");
  out.String(keys.app_key);
  out.Raw(R"(,"#appSecret":)");
  keys.app_secret.Bytes().Expose(write_secret);
  out.Raw("}");
}

crypto::SecretBytes EightKeysAsJson(const EightKeys& keys) {
  return WriteCounted([&keys](JsonText& out) { WriteEightKeys(out, keys); });
}

}  // namespace oauthvault::custody
