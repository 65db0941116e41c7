#include "crypto/error.h"

#include <gtest/gtest.h>

#include <set>
#include <string>

namespace oauthvault {
namespace {

struct PublicId {
  static constexpr bool kPublicName = true;
  std::string Str() const { return "acme"; }
};

static_assert(!std::is_constructible_v<Subject, std::string>, "a subject is public by its type");
static_assert(!std::is_constructible_v<Text, std::string>, "a text is a literal");

TEST(Error, NameOf_GivesEveryCodeItsOwnName) {
  std::set<std::string_view> names;
  for (int code = 0; code <= static_cast<int>(Code::kExhausted); ++code) {
    names.insert(NameOf(static_cast<Code>(code)));
  }
  EXPECT_EQ(names.size(), 10u);
  EXPECT_TRUE(names.contains("NOT_FOUND"));
  EXPECT_TRUE(names.contains("UNAUTHENTICATED"));
  EXPECT_TRUE(names.contains("EXHAUSTED"));
}

TEST(Error, ExitCodeOf_IsOneWhereTheCallerCanMendIt_AndElseTwo) {
  for (const Code code : {Code::kNotFound, Code::kUnauthenticated, Code::kDenied, Code::kInvalid,
                          Code::kConflict, Code::kStale}) {
    EXPECT_EQ(ExitCodeOf(code), 1) << NameOf(code);
  }
  for (const Code code :
       {Code::kCorrupt, Code::kSealed, Code::kUnavailable, Code::kExhausted}) {
    EXPECT_EQ(ExitCodeOf(code), 2) << NameOf(code);
  }
}

TEST(Error, Message_IsTheTextAlone_WithoutASubject) {
  EXPECT_EQ(Error(Code::kDenied, "test: no").Message(), "test: no");
}

TEST(Error, Message_PutsTheSubjectBehindAColon) {
  EXPECT_EQ(Error(Code::kDenied, "test: not this", PublicId{}).Message(), "test: not this: acme");
  EXPECT_EQ(Error(Code::kInvalid, "test: line", Subject::Number(-7)).Message(), "test: line: -7");
  EXPECT_EQ(Error(Code::kInvalid, "test: key", Subject::Key("a.b")).Message(), "test: key: a.b");
  EXPECT_EQ(Error(Code::kInvalid, "test: file", Subject::Path("/x")).Message(), "test: file: /x");
}

TEST(Error, Fail_PassesTheErrorOfAnotherResultOn) {
  Result<int> inner = Fail(Code::kStale, "test: old", Subject::Number(3));
  const Result<std::string> outer = Fail(std::move(inner));
  ASSERT_FALSE(outer.has_value());
  EXPECT_EQ(outer.error().GetCode(), Code::kStale);
  EXPECT_EQ(outer.error().GetText(), "test: old");
  EXPECT_EQ(outer.error().GetSubject(), "3");
}

}  // namespace
}  // namespace oauthvault
