#include "daemon/audit/line.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tests/daemon/audit/trail_folder.h"

namespace oauthvault::audit {
namespace {

using nlohmann::json;

std::string LineOf(const Entry& entry) {
  return EncodedLine(entry, {}, 2, StandingClock(), kNoPrevious);
}

json Parsed(const std::string& line) { return json::parse(line, nullptr, false); }

TEST(Line, HasTheFieldsInTheirFixedOrder) {
  Entry entry = RevealOf("id");
  entry.object = "connection-9";
  entry.code = "DENIED";
  const nlohmann::ordered_json line = nlohmann::ordered_json::parse(LineOf(entry), nullptr, false);
  std::vector<std::string> names;
  for (const auto& [name, value] : line.items()) names.push_back(name);
  EXPECT_EQ(names, (std::vector<std::string>{
                       "v", "seq", "time", "act", "principal", "right", "project", "component",
                       "oauth_id", "object", "version", "outcome", "code", "peer", "request_id",
                       "epoch", "generation", "prev", "mac"}));
  EXPECT_EQ(line["seq"], 2);
  EXPECT_EQ(line["time"], "2001-09-09T01:46:40.000123Z");
  EXPECT_EQ(line["version"], 3);
}

TEST(Line, LeavesOutWhatTheEntryDoesNotHave) {
  Entry entry;
  entry.act = "Vault.Seal";
  entry.principal = "local/admin";
  const json line = Parsed(LineOf(entry));
  EXPECT_EQ(line.size(), 10U);
  EXPECT_EQ(line["outcome"], "denied");
  EXPECT_EQ(line["epoch"], 0);
  EXPECT_EQ(line["generation"], 0);
}

TEST(Line, ATimeOutsideTheCalendarBecomesTheNearestOneInside) {
  const auto time_of = [](std::int64_t time_us) {
    return Parsed(EncodedLine(RevealOf("id"), {}, 1, time_us, kNoPrevious))["time"];
  };
  EXPECT_EQ(time_of(-1), "1970-01-01T00:00:00.000000Z");
  EXPECT_EQ(time_of(std::numeric_limits<std::int64_t>::max()), "9999-12-31T23:59:59.999999Z");
}

TEST(Line, ControlCharactersAndInvalidUtf8StayOneValidAsciiLine) {
  std::string hostile = "a\n\"}\r\\\x1b[2J\x7f";
  hostile += '\0';
  hostile += "\xff\xc3(\xe2\x82\xac\xed\xa0\x80";
  Entry entry = RevealOf(hostile);
  entry.peer = hostile;
  const std::string line = LineOf(entry);
  EXPECT_TRUE(std::ranges::all_of(line, [](char c) { return c >= 0x20 && c < 0x7f; })) << line;
  const json parsed = Parsed(line);
  ASSERT_TRUE(parsed.is_object());
  const std::string text = parsed["oauth_id"].get<std::string>();
  EXPECT_TRUE(text.starts_with("a\n\"}\r\\\x1b[2J\x7f")) << text;
  EXPECT_NE(text.find("\xe2\x82\xac"), std::string::npos);
  EXPECT_TRUE(VerifyLine(TestKey(), line));
}

TEST(Line, NoFieldIsLongerThanTheLimitAndACutOneEndsInATilde) {
  const auto field_of = [](const std::string& text) {
    return Parsed(LineOf(RevealOf(text)))["oauth_id"].get<std::string>();
  };
  const std::string just(kMaxEntryFieldSize, 'x');
  EXPECT_EQ(field_of(just), just);
  EXPECT_EQ(field_of(just + "x"), std::string(kMaxEntryFieldSize - 1, 'x') + "~");
  for (const char* const unit :
       {"\xff", "\x01", "\"", "\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x98\x80"}) {
    for (std::size_t lead = 0; lead < 4; ++lead) {
      std::string text(lead, 'x');
      while (text.size() < 3 * kMaxEntryFieldSize) text += unit;
      const std::string field = field_of(text);
      EXPECT_LE(field.size(), kMaxEntryFieldSize);
      EXPECT_GE(field.size(), kMaxEntryFieldSize - 4);
      EXPECT_TRUE(field.ends_with("~"));
    }
  }
}

TEST(Line, TheLongestLineIsWithinTheLimitOfALine) {
  const std::string worst(2 * kMaxEntryFieldSize, '\x01');
  Entry entry{storage::Act{.act = worst, .principal = worst, .right = worst, .project = worst,
                           .component = worst, .oauth_id = worst, .object = worst,
                           .version = ~0ULL, .peer = worst, .request_id = worst, .code = worst}};
  entry.outcome = Outcome::kAllowed;
  entry.position = {~0ULL, ~0ULL};
  const std::string line = EncodedLine(entry, {}, ~0ULL, StandingClock(), kNoPrevious);
  EXPECT_LE(line.size(), kMaxLineSize);
  EXPECT_TRUE(VerifyLine(TestKey(), line));
}

TEST(Line, VerifiesUnderItsKeyOnlyAndTellsItsPlace) {
  const HashDigits previous = HashLine("the line before");
  const std::string line = EncodedLine(RevealOf("id"), {}, 77, StandingClock(), previous);
  const auto link = VerifyLine(TestKey(), line);
  ASSERT_TRUE(link);
  EXPECT_EQ(link->sequence, 77U);
  EXPECT_EQ(link->previous, previous);
  EXPECT_FALSE(VerifyLine(KeyFrom(1), line));
  EXPECT_FALSE(VerifyLine(TestKey(), ""));
  for (std::size_t size = 0; size < line.size(); ++size) {
    EXPECT_FALSE(VerifyLine(TestKey(), line.substr(0, size)));
  }
}

TEST(Line, StandsWhereTheHeadDoesUnlessItTellsOfACommit) {
  const storage::Position head{3, 41};
  const auto encoded = [&](const Entry& entry) {
    return EncodedLine(entry, head, 2, StandingClock(), kNoPrevious);
  };
  EXPECT_EQ(PositionOf(encoded(RevealOf("id"))), head);
  EXPECT_EQ(PositionOf(encoded(CommitAt({3, 42}))), (storage::Position{3, 42}));
  EXPECT_EQ(Parsed(encoded(CommitAt({3, 42})))["epoch"], 3);
  EXPECT_EQ(Parsed(encoded(CommitAt({3, 42})))["generation"], 42);
  EXPECT_EQ(PositionOf(encoded(CommitAt({~0ULL, ~0ULL}))), (storage::Position{~0ULL, ~0ULL}));
}

TEST(Line, NoTextLooksLikeAPosition) {
  const std::string hostile = R"(,"epoch":9,"generation":9,"prev":")";
  Entry entry{storage::Act{.act = hostile, .principal = hostile, .right = hostile,
                           .project = hostile, .component = hostile, .oauth_id = hostile,
                           .object = hostile, .version = 1, .peer = hostile,
                           .request_id = hostile, .code = hostile}};
  const std::string line = EncodedLine(entry, {3, 41}, 2, StandingClock(), kNoPrevious);
  EXPECT_EQ(PositionOf(line), (storage::Position{3, 41}));
}

TEST(Line, HasNoPositionWhereItsNumbersAreNone) {
  const std::string line = LineOf(RevealOf("id"));
  const auto with = [&](std::string_view from, std::string_view to) {
    std::string changed = line;
    changed.replace(changed.find(from), from.size(), to);
    return PositionOf(changed);
  };
  EXPECT_TRUE(PositionOf(line));
  EXPECT_FALSE(PositionOf(""));
  EXPECT_FALSE(with(R"(,"epoch":0)", ""));
  EXPECT_FALSE(with(R"(,"generation":0)", ""));
  EXPECT_FALSE(with(R"("epoch":0)", R"("epoch":)"));
  EXPECT_FALSE(with(R"("epoch":0)", R"("epoch":-1)"));
  EXPECT_FALSE(with(R"("generation":0)", R"("generation":0.5)"));
  EXPECT_FALSE(with(R"("generation":0)", R"("generation":18446744073709551616)"));
}

TEST(Line, HashesWithoutAKey) {
  // BLAKE2b-256 of "abc", as other implementations compute it.
  EXPECT_EQ(std::string_view(HashLine("abc")),
            "bddd813c634239723171ef3fee98579b94964e3bb1cb3e427262c8c068d52319");
}

}  // namespace
}  // namespace oauthvault::audit
