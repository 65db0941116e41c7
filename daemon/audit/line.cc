#include "daemon/audit/line.h"

#include <sodium.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <span>
#include <vector>

#include "crypto/hex.h"
#include "crypto/sabotage.h"
#include "crypto/sealed.h"

namespace oauthvault::audit {
namespace {

constexpr std::string_view kMacLabel = "oauthvault/audit/line";
constexpr std::size_t kHashSize = 32;
constexpr std::size_t kHexSize = 2 * kHashSize;

constexpr std::string_view kLineStart = R"({"v":1,"seq":)";
static_assert(kLineFormat == 1);
constexpr std::string_view kEpochStart = R"(,"epoch":)";
constexpr std::string_view kGenerationStart = R"(,"generation":)";
constexpr std::string_view kPreviousStart = R"(,"prev":")";
constexpr std::string_view kMacStart = R"(,"mac":")";
constexpr std::string_view kTextEnd = R"(")";
constexpr std::string_view kLineEnd = R"("})";
constexpr std::size_t kMacFieldSize = kMacStart.size() + kHexSize + kLineEnd.size();

// 9999-12-31T23:59:59.999999Z: the last moment that RFC 3339 can write.
constexpr std::int64_t kLastTimeUs = 253'402'300'799'999'999;

std::string TimeText(std::int64_t time_us) {
  using std::chrono::days;
  using std::chrono::microseconds;
  const std::chrono::sys_time<microseconds> time{
      microseconds{std::clamp<std::int64_t>(time_us, 0, kLastTimeUs)}};
  const auto day = std::chrono::floor<days>(time);
  const std::chrono::year_month_day date{day};
  const std::chrono::hh_mm_ss<microseconds> clock{time - day};
  std::array<char, 64> text{};
  std::snprintf(text.data(), text.size(), "%04d-%02u-%02uT%02d:%02d:%02d.%06dZ",
                static_cast<int>(date.year()), static_cast<unsigned>(date.month()),
                static_cast<unsigned>(date.day()), static_cast<int>(clock.hours().count()),
                static_cast<int>(clock.minutes().count()),
                static_cast<int>(clock.seconds().count()),
                static_cast<int>(clock.subseconds().count()));
  return text.data();
}

bool IsPlain(std::string_view text) {
  return std::ranges::all_of(text, [](char c) {
    return c >= 0x20 && c < 0x7f && c != '"' && c != '\\';
  });
}

// At most kMaxEntryFieldSize bytes of valid UTF-8.
std::string Shortened(std::string_view text) {
  using nlohmann::json;
  // Before and after: replacing makes an invalid byte three, and there may be very many of them.
  const std::string valid =
      json::parse(json(text.substr(0, kMaxEntryFieldSize + 1))
                      .dump(-1, ' ', false, json::error_handler_t::replace),
                  nullptr, false)
          .get<std::string>();
  if (valid.size() <= kMaxEntryFieldSize && text.size() <= kMaxEntryFieldSize) return valid;
  std::size_t size = std::min(valid.size(), kMaxEntryFieldSize - 1);
  const auto continues = [&](std::size_t at) {
    return at < valid.size() && (static_cast<unsigned char>(valid[at]) & 0xc0U) == 0x80U;
  };
  while (size > 0 && continues(size)) --size;
  return valid.substr(0, size) + "~";
}

// The text in quotes. ASCII only: a terminal that shows the trail obeys none of it.
std::string Quoted(std::string_view text) {
  if (text.size() <= kMaxEntryFieldSize && IsPlain(text)) return '"' + std::string(text) + '"';
  return nlohmann::json(Shortened(text))
      .dump(-1, ' ', true, nlohmann::json::error_handler_t::replace);
}

std::string MacOf(const crypto::SecretBytes& audit_key, std::string_view body) {
  return crypto::HexOf(crypto::KeyedHash(audit_key, std::array{kMacLabel, body}, kHashSize));
}

}  // namespace

std::string EncodeLine(const crypto::SecretBytes& audit_key, const Entry& entry,
                       storage::Position head, std::uint64_t sequence, std::int64_t time_us,
                       std::string_view previous) {
  if (entry.position) head = *entry.position;
  std::string line(kLineStart);
  line += std::to_string(sequence);
  const auto always = [&](std::string_view name, std::string_view text) {
    line.append(",\"").append(name).append("\":").append(Quoted(text));
  };
  const auto where_given = [&](std::string_view name, std::string_view text) {
    if (!text.empty()) always(name, text);
  };
  const auto where_counted = [&](std::string_view name, std::uint64_t number) {
    if (number != 0) line.append(",\"").append(name).append("\":").append(std::to_string(number));
  };
  always("time", TimeText(time_us));
  always("act", entry.act);
  always("principal", entry.principal);
  where_given("right", entry.right);
  where_given("project", entry.project);
  where_given("component", entry.component);
  where_given("oauth_id", entry.oauth_id);
  where_given("object", entry.object);
  where_counted("version", entry.version);
  always("outcome", NameOf(entry.outcome));
  where_given("code", entry.code);
  where_given("peer", entry.peer);
  where_given("request_id", entry.request_id);
  where_given("fingerprints", entry.fingerprints);
  where_given("closes", entry.closes);
  // Longer than a field from outside may be, and plain as it is made here.
  if (!entry.tree.empty()) line.append(",\"tree\":\"").append(entry.tree).append(kTextEnd);
  line.append(kEpochStart).append(std::to_string(head.epoch));
  line.append(kGenerationStart).append(std::to_string(head.generation));
  line.append(kPreviousStart).append(previous).append(kTextEnd);
  const std::string mac = MacOf(audit_key, line);
  return line.append(kMacStart).append(mac).append(kLineEnd);
}

std::string HashLine(std::string_view line) {
  std::array<std::uint8_t, kHashSize> hash{};
  crypto_generichash(hash.data(), hash.size(), reinterpret_cast<const std::uint8_t*>(line.data()),
                     line.size(), nullptr, 0);
  return crypto::HexOf(hash);
}

std::optional<Link> LinkOf(std::string_view line) {
  const std::optional<std::uint64_t> sequence = SequenceOf(line);
  const std::size_t previous_field_size = kPreviousStart.size() + kHexSize + kTextEnd.size();
  if (!sequence || line.size() < kMacFieldSize + previous_field_size) return std::nullopt;
  const std::string_view body = line.substr(0, line.size() - kMacFieldSize);
  const std::string_view mac_field = line.substr(body.size());
  if (!mac_field.starts_with(kMacStart) || !mac_field.ends_with(kLineEnd)) return std::nullopt;
  const std::string_view previous_field = body.substr(body.size() - previous_field_size);
  if (!previous_field.starts_with(kPreviousStart)) return std::nullopt;
  return Link{*sequence, previous_field.substr(kPreviousStart.size(), kHexSize)};
}

std::optional<Link> VerifyLine(const crypto::SecretBytes& audit_key, std::string_view line) {
  const std::optional<Link> link = LinkOf(line);
  if (!link || crypto::IsSabotaged(crypto::Sabotage::kNoMacCheck)) return link;
  const std::string_view body = line.substr(0, line.size() - kMacFieldSize);
  const std::string mac = MacOf(audit_key, body);
  const std::string_view claimed = line.substr(body.size() + kMacStart.size(), kHexSize);
  if (sodium_memcmp(mac.data(), claimed.data(), kHexSize) != 0) return std::nullopt;
  return link;
}

// A quotation mark within a text is escaped, so that no text can look like a field.
std::optional<storage::Position> PositionOf(std::string_view line) {
  storage::Position position;
  for (const auto& [start, number] : {std::pair(kEpochStart, &position.epoch),
                                      std::pair(kGenerationStart, &position.generation)}) {
    const std::size_t at = line.rfind(start);
    if (at == std::string_view::npos) return std::nullopt;
    const std::string_view rest = line.substr(at + start.size());
    const auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), *number);
    if (error != std::errc() || end == rest.data() + rest.size() || *end != ',') {
      return std::nullopt;
    }
  }
  return position;
}

std::string_view FieldOf(std::string_view line, std::string_view name) {
  const std::string start = ",\"" + std::string(name) + "\":\"";
  const std::size_t at = line.find(start);
  if (at == std::string_view::npos) return {};
  const std::size_t begin = at + start.size();
  std::size_t end = begin;
  while (end < line.size() && line[end] != '"') end += line[end] == '\\' ? 2 : 1;
  return end < line.size() ? line.substr(begin, end - begin) : std::string_view();
}

std::optional<std::int64_t> TimeOf(std::string_view line) {
  const std::string text(FieldOf(line, "time"));
  int year = 0;
  unsigned month = 0;
  unsigned day = 0;
  int hour = 0;
  int minute = 0;
  int second = 0;
  int micro = 0;
  if (std::sscanf(text.c_str(), "%4d-%2u-%2uT%2d:%2d:%2d.%6dZ", &year, &month, &day, &hour,
                  &minute, &second, &micro) != 7) {
    return std::nullopt;
  }
  const std::chrono::year_month_day date{std::chrono::year(year), std::chrono::month(month),
                                         std::chrono::day(day)};
  if (!date.ok()) return std::nullopt;
  const auto time = std::chrono::sys_days(date) + std::chrono::hours(hour) +
                    std::chrono::minutes(minute) + std::chrono::seconds(second) +
                    std::chrono::microseconds(micro);
  return std::chrono::duration_cast<std::chrono::microseconds>(time.time_since_epoch()).count();
}

std::optional<std::uint64_t> SequenceOf(std::string_view line) {
  if (!line.starts_with(kLineStart)) return std::nullopt;
  const std::string_view rest = line.substr(kLineStart.size());
  std::uint64_t sequence = 0;
  const auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), sequence);
  if (error != std::errc() || end == rest.data() + rest.size() || *end != ',') return std::nullopt;
  return sequence;
}

}  // namespace oauthvault::audit
