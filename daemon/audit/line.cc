#include "daemon/audit/line.h"

#include <sodium.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <span>

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

void AppendNumber(std::uint64_t number, std::string& text) {
  std::array<char, 20> digits{};
  const auto [end, error] = std::to_chars(digits.data(), digits.data() + digits.size(), number);
  if (error != std::errc()) std::abort();
  text.append(digits.data(), end);
}

void AppendTime(std::int64_t time_us, std::string& text) {
  using std::chrono::days;
  using std::chrono::microseconds;
  const std::chrono::sys_time<microseconds> time{
      microseconds{std::clamp<std::int64_t>(time_us, 0, kLastTimeUs)}};
  const auto day = std::chrono::floor<days>(time);
  const std::chrono::year_month_day date{day};
  const std::chrono::hh_mm_ss<microseconds> clock{time - day};
  const std::size_t begin = text.size();
  text.append("0000-00-00T00:00:00.000000Z");
  // Each number ends where it is said; the zeros before it stand.
  const auto put = [&](std::size_t end, std::int64_t number) {
    for (std::size_t at = begin + end; number > 0; number /= 10) {
      text[--at] = static_cast<char>('0' + number % 10);
    }
  };
  put(4, static_cast<int>(date.year()));
  put(7, static_cast<unsigned>(date.month()));
  put(10, static_cast<unsigned>(date.day()));
  put(13, clock.hours().count());
  put(16, clock.minutes().count());
  put(19, clock.seconds().count());
  put(26, clock.subseconds().count());
}

// Printable ASCII that JSON does not escape. Without an early end, and all in bytes, so that the
// compiler looks at sixteen at once; a byte from 0x80 on is a negative `char`.
bool IsPlain(std::string_view text) {
  std::uint8_t special = 0;
  for (const char c : text) {
    special |= static_cast<std::uint8_t>((c < 0x20) | (c == 0x7f) | (c == '"') | (c == '\\'));
  }
  return special == 0;
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

// What stands between the quotation marks. ASCII only: a terminal that shows the trail obeys none
// of it.
void AppendEscaped(std::string_view value, std::string& text) {
  if (value.size() <= kMaxEntryFieldSize && IsPlain(value)) {
    text.append(value);
    return;
  }
  const std::string quoted = nlohmann::json(Shortened(value))
                                 .dump(-1, ' ', true, nlohmann::json::error_handler_t::replace);
  text.append(quoted, 1, quoted.size() - 2);
}

HashDigits MacOf(const crypto::SecretBytes& audit_key, std::string_view body) {
  const auto mac = crypto::KeyedHash(audit_key, std::array{kMacLabel, body}, kHashSize);
  return HashDigits(std::span<const std::uint8_t, kHashSize>(mac));
}

}  // namespace

// Not by crypto::HexOf: most of its cost is its constant time, which no hash of a line needs.
HashDigits::HashDigits(std::span<const std::uint8_t, kHashSize> hash) {
  const auto digit = [](int half) {
    return static_cast<char>(half < 10 ? '0' + half : 'a' - 10 + half);
  };
  for (std::size_t i = 0; i < hash.size(); ++i) {
    digits_[2 * i] = digit(hash[i] >> 4);
    digits_[2 * i + 1] = digit(hash[i] & 0xf);
  }
}

void AppendLine(const crypto::SecretBytes& audit_key, const Entry& entry, storage::Position head,
                std::uint64_t sequence, std::int64_t time_us, const HashDigits& previous,
                std::string& text) {
  if (entry.position) head = *entry.position;
  const std::size_t begin = text.size();
  const auto always = [&](std::string_view start, std::string_view value) {
    text.append(start);
    AppendEscaped(value, text);
    text.push_back('"');
  };
  const auto where_given = [&](std::string_view start, std::string_view value) {
    if (!value.empty()) always(start, value);
  };
  text.append(kLineStart);
  AppendNumber(sequence, text);
  text.append(R"(,"time":")");
  AppendTime(time_us, text);
  text.push_back('"');
  always(R"(,"act":")", entry.act);
  always(R"(,"principal":")", entry.principal);
  where_given(R"(,"right":")", entry.right);
  where_given(R"(,"project":")", entry.project);
  where_given(R"(,"component":")", entry.component);
  where_given(R"(,"oauth_id":")", entry.oauth_id);
  where_given(R"(,"object":")", entry.object);
  if (entry.version != 0) {
    text.append(R"(,"version":)");
    AppendNumber(entry.version, text);
  }
  always(R"(,"outcome":")", NameOf(entry.outcome));
  where_given(R"(,"code":")", entry.code);
  where_given(R"(,"peer":")", entry.peer);
  where_given(R"(,"request_id":")", entry.request_id);
  where_given(R"(,"fingerprints":")", entry.fingerprints);
  where_given(R"(,"closes":")", entry.closes);
  // Longer than a field from outside may be, and plain as it is made here.
  if (!entry.tree.empty()) text.append(R"(,"tree":")").append(entry.tree).append(kTextEnd);
  text.append(kEpochStart);
  AppendNumber(head.epoch, text);
  text.append(kGenerationStart);
  AppendNumber(head.generation, text);
  text.append(kPreviousStart).append(previous).append(kTextEnd);
  const HashDigits mac = MacOf(audit_key, std::string_view(text).substr(begin));
  text.append(kMacStart).append(mac).append(kLineEnd);
}

HashDigits HashLine(std::string_view line) {
  std::array<std::uint8_t, kHashSize> hash{};
  crypto_generichash(hash.data(), hash.size(), reinterpret_cast<const std::uint8_t*>(line.data()),
                     line.size(), nullptr, 0);
  return HashDigits(hash);
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
  const HashDigits mac = MacOf(audit_key, body);
  const std::string_view claimed = line.substr(body.size() + kMacStart.size(), kHexSize);
  if (sodium_memcmp(std::string_view(mac).data(), claimed.data(), kHexSize) != 0) {
    return std::nullopt;
  }
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
  return MomentOf(std::string(FieldOf(line, "time")));
}

std::optional<std::int64_t> MomentOf(const std::string& time_text) {
  int year = 0;
  unsigned month = 0;
  unsigned day = 0;
  int hour = 0;
  int minute = 0;
  int second = 0;
  int micro = 0;
  if (std::sscanf(time_text.c_str(), "%4d-%2u-%2uT%2d:%2d:%2d.%6dZ", &year, &month, &day, &hour,
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
