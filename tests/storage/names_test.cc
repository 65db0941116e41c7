#include "storage/names.h"

#include <gtest/gtest.h>

#include <string>
#include <type_traits>

namespace oauthvault {
namespace {

TEST(Names, Id_TakesTheAllowedCharacters) {
  for (const char* text : {"a", "Z", "0", "keboola.ex-google-drive", "a_b", "...", "-", "_"}) {
    EXPECT_TRUE(IsValidId(text)) << text;
  }
}

TEST(Names, Id_RefusesEveryOtherByte) {
  for (int byte = 0; byte < 256; ++byte) {
    const char c = static_cast<char>(byte);
    const bool allowed = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                         (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-';
    EXPECT_EQ(IsValidId(std::string("a") + c), allowed) << byte;
  }
}

TEST(Names, Id_RefusesEmptyAndTheDots) {
  EXPECT_FALSE(IsValidId(""));
  EXPECT_FALSE(IsValidId("."));
  EXPECT_FALSE(IsValidId(".."));
}

TEST(Names, Id_EndsAt128Characters) {
  EXPECT_TRUE(IsValidId(std::string(kMaxIdSize, 'a')));
  EXPECT_FALSE(IsValidId(std::string(kMaxIdSize + 1, 'a')));
}

TEST(Names, Parse_KeepsTheTextAndNamesTheKindInItsError) {
  const Result<ProjectId> id = ProjectId::Parse("acme");
  ASSERT_TRUE(id.has_value());
  EXPECT_EQ(id->Str(), "acme");

  const Result<OauthId> refused = OauthId::Parse("a secret");
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().GetCode(), Code::kInvalid);
  EXPECT_EQ(refused.error().GetSubject(), "oauth id");
  EXPECT_EQ(refused.error().Message().find("a secret"), std::string::npos);
}

TEST(Names, Kinds_DoNotMix) {
  static_assert(!std::is_convertible_v<ProjectId, ComponentId>);
  static_assert(!std::is_constructible_v<ProjectId, std::string>);
  EXPECT_EQ(*ProjectId::Parse("a"), *ProjectId::Parse("a"));
  EXPECT_LT(*ProjectId::Parse("a"), *ProjectId::Parse("b"));
}

}  // namespace
}  // namespace oauthvault
