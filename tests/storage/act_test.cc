#include "storage/tables/act.h"

#include <gtest/gtest.h>

#include <string>

namespace oauthvault::storage {
namespace {

TEST(Acts, Decode_GivesWhatWasEncoded) {
  const Act act{.act = "a",
                .principal = "b",
                .right = "c",
                .project = "d",
                .component = "e",
                .oauth_id = "f",
                .object = "g",
                .version = 8,
                .peer = "h",
                .request_id = "i",
                .code = "j"};
  EXPECT_EQ(*DecodeAct(EncodeAct(act)), act);
  EXPECT_EQ(*DecodeAct(EncodeAct(Act{})), Act{});
}

TEST(Acts, Encode_CutsTextsToTheirBoundAtACharactersEnd) {
  const std::string euro = "\xe2\x82\xac";
  std::string text(kMaxActTextSize - 2, 'x');
  const Act act{.act = text + euro, .project = std::string(5000, 'y')};
  const Result<Act> decoded = DecodeAct(EncodeAct(act));
  ASSERT_TRUE(decoded.has_value());
  EXPECT_EQ(decoded->act, text);
  EXPECT_EQ(decoded->project, std::string(kMaxActTextSize, 'y'));
  const std::string longest(9000, 'z');
  const Act all{longest, longest, longest, longest, longest, longest, longest, ~0ull, longest,
                longest, longest};
  EXPECT_LE(EncodeAct(all).size(), kMaxActSize);
}

TEST(Acts, Decode_RefusesWhatIsNoListOfFields) {
  const std::vector<std::uint8_t> bytes = EncodeAct(Act{.act = "a"});
  const auto refused = DecodeAct(std::span(bytes).first(bytes.size() - 1));
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().GetCode(), Code::kCorrupt);
}

}  // namespace
}  // namespace oauthvault::storage
