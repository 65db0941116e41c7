#include "storage/tables/fields.h"

#include <gtest/gtest.h>

#include <limits>
#include <string>
#include <vector>

namespace oauthvault::storage {
namespace {

std::vector<std::uint8_t> BytesOf(const crypto::SecretBytes& secret) {
  return secret.Expose([](std::span<const std::uint8_t> bytes) {
    return std::vector<std::uint8_t>(bytes.begin(), bytes.end());
  });
}

Result<FieldReader> Parse(const std::vector<std::uint8_t>& bytes) {
  return FieldReader::Parse(crypto::SecretBytes::CopyOf(std::span<const std::uint8_t>(bytes)));
}

TEST(Fields, WriterAndReader_AgreeOnEveryType) {
  const std::vector<std::string> list = {"one", "", "three"};
  FieldWriter writer;
  writer.Put(1, std::string("text"));
  writer.Put(2, std::numeric_limits<std::uint64_t>::max());
  writer.Put(3, std::int64_t{-5});
  writer.Put(4, true);
  writer.Put(200, std::span<const std::string>(list));
  const Result<FieldReader> reader = FieldReader::Parse(std::move(writer).Take());
  ASSERT_TRUE(reader.has_value());
  EXPECT_EQ(reader->Text(1), "text");
  EXPECT_EQ(reader->Number(2), std::numeric_limits<std::uint64_t>::max());
  EXPECT_EQ(reader->Signed(3), -5);
  EXPECT_TRUE(reader->Flag(4));
  EXPECT_EQ(reader->Texts(200), list);
}

TEST(Fields, Writer_WritesTheBytesThatTheFormatSays) {
  const std::vector<std::string> list = {"x", ""};
  FieldWriter writer;
  writer.Put(1, std::string("ab"));
  writer.Put(2, std::uint64_t{0x0102});
  writer.Put(255, std::span<const std::string>(list));
  const std::vector<std::uint8_t> expected = {
      1,   2, 0, 0, 0, 'a', 'b',                      //
      2,   8, 0, 0, 0, 2,   1,   0, 0, 0, 0, 0, 0,    //
      255, 1, 0, 0, 0, 'x',                           //
      255, 0, 0, 0, 0,
  };
  EXPECT_EQ(BytesOf(std::move(writer).Take()), expected);
}

TEST(Fields, Writer_LeavesEmptyTextZeroAndFalseOut) {
  FieldWriter writer;
  writer.Put(1, std::string());
  writer.Put(2, std::uint64_t{0});
  writer.Put(3, false);
  writer.Put(4, std::span<const std::string>());
  EXPECT_TRUE(std::move(writer).Take().Empty());
}

TEST(Fields, Reader_AnswersDefaultsForAbsentFields) {
  const Result<FieldReader> reader = Parse({2, 1, 0, 0, 0, 'x'});
  ASSERT_TRUE(reader.has_value());
  for (const std::uint8_t number : {std::uint8_t{1}, std::uint8_t{3}}) {
    EXPECT_EQ(reader->Text(number), "");
    EXPECT_EQ(reader->Number(number), 0u);
    EXPECT_FALSE(reader->Flag(number));
    EXPECT_TRUE(reader->Texts(number).empty());
  }
}

TEST(Fields, Reader_PassesOverNumbersThatNobodyAsksFor) {
  const Result<FieldReader> reader =
      Parse({1, 1, 0, 0, 0, 'a', 77, 3, 0, 0, 0, 9, 9, 9, 200, 1, 0, 0, 0, 'b'});
  ASSERT_TRUE(reader.has_value());
  EXPECT_EQ(reader->Text(1), "a");
  EXPECT_EQ(reader->Text(200), "b");
}

TEST(Fields, Reader_RefusesEveryTruncation) {
  FieldWriter writer;
  writer.Put(1, std::string("abc"));
  writer.Put(2, std::uint64_t{5});
  const std::vector<std::uint8_t> whole = BytesOf(std::move(writer).Take());
  const std::size_t first_field = 8;
  for (std::size_t size = 1; size < whole.size(); ++size) {
    const Result<FieldReader> reader =
        Parse(std::vector<std::uint8_t>(whole.begin(), whole.begin() + static_cast<long>(size)));
    // A cut between two fields is a shorter list of fields; the seal is what notices that.
    EXPECT_EQ(reader.has_value(), size == first_field) << size;
    if (!reader) {
      EXPECT_EQ(reader.error().GetCode(), Code::kCorrupt);
    }
  }
}

TEST(Fields, Reader_RefusesASizeBeyondTheEnd) {
  const Result<FieldReader> reader = Parse({1, 0xff, 0xff, 0xff, 0xff, 'a', 'b'});
  ASSERT_FALSE(reader.has_value());
  EXPECT_EQ(reader.error().GetCode(), Code::kCorrupt);
}

TEST(Fields, Reader_RefusesNumbersThatFall) {
  const Result<FieldReader> reader = Parse({2, 0, 0, 0, 0, 1, 0, 0, 0, 0});
  ASSERT_FALSE(reader.has_value());
  EXPECT_EQ(reader.error().GetCode(), Code::kCorrupt);
}

TEST(Fields, Reader_TakesNoNumberOfAnotherSize) {
  const Result<FieldReader> reader = Parse({1, 7, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1});
  ASSERT_TRUE(reader.has_value());
  EXPECT_EQ(reader->Number(1), 0u);
}

TEST(Fields, Text_KeepsZeroBytesAndHighBytes) {
  const std::string text("a\0\xff\n", 4);
  FieldWriter writer;
  writer.Put(1, text);
  const Result<FieldReader> reader = FieldReader::Parse(std::move(writer).Take());
  ASSERT_TRUE(reader.has_value());
  EXPECT_EQ(reader->Text(1), text);
}

}  // namespace
}  // namespace oauthvault::storage
