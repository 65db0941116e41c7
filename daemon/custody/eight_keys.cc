#include "daemon/custody/eight_keys.h"

#include <chrono>
#include <span>
#include <string>

namespace oauthvault::custody {

std::string CreatedText(std::int64_t seconds) {
  // Not strftime, which costs ten times as much, and each reveal has such a text.
  const std::chrono::sys_seconds time{std::chrono::seconds(seconds)};
  const auto day = std::chrono::floor<std::chrono::days>(time);
  const std::chrono::year_month_day date(day);
  const std::chrono::hh_mm_ss clock(time - day);
  std::string text = std::to_string(static_cast<int>(date.year()));
  const auto append = [&text](char before, std::int64_t number) {
    text += {before, static_cast<char>('0' + number / 10), static_cast<char>('0' + number % 10)};
  };
  append('-', static_cast<unsigned>(date.month()));
  append('-', static_cast<unsigned>(date.day()));
  append(' ', clock.hours().count());
  append(':', clock.minutes().count());
  append(':', clock.seconds().count());
  return text;
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
