#include "storage/tables/rows.h"

#include <gtest/gtest.h>

#include "tests/storage/full_rows.h"

namespace oauthvault::storage {
namespace {

crypto::SecretBytes Encoded(const auto& row) {
  FieldWriter writer;
  row.Encode(writer);
  return std::move(writer).Take();
}

// What decoding the fields of `row` gives after its field `number` was replaced by `text`.
template <Row R>
Result<R> DecodeWith(const R& row, std::uint8_t number, const std::string& text) {
  const Result<FieldReader> before = FieldReader::Parse(Encoded(row));
  FieldWriter writer;
  for (int i = 0; i < 256; ++i) {
    const auto at = static_cast<std::uint8_t>(i);
    std::vector<std::string> texts = before->Texts(at);
    if (at == number) texts = {text};
    writer.Put(at, std::span<const std::string>(texts));
  }
  const Result<FieldReader> after = FieldReader::Parse(std::move(writer).Take());
  return R::Decode(*after);
}

// The positions of a row's id fields, found by what their damage does.
template <Row R>
std::vector<int> IdFieldsOf(const R& row) {
  std::vector<int> found;
  for (int number = 1; number < 40; ++number) {
    const Result<R> decoded = DecodeWith(row, static_cast<std::uint8_t>(number), "a/b");
    if (decoded) continue;
    EXPECT_EQ(decoded.error().GetCode(), Code::kCorrupt) << number;
    EXPECT_EQ(decoded.error().Message().find("a/b"), std::string::npos);
    found.push_back(number);
  }
  return found;
}

TEST(Rows, Decode_RefusesWhatIsNoIdWhereOneMustStand) {
  EXPECT_EQ(IdFieldsOf(FullProject()), (std::vector{1}));
  EXPECT_EQ(IdFieldsOf(FullComponent()), (std::vector{1}));
  EXPECT_EQ(IdFieldsOf(FullGrant()), (std::vector{2, 3}));
  EXPECT_EQ(IdFieldsOf(FullIdentity()), std::vector<int>());
  EXPECT_EQ(IdFieldsOf(FullCredentials()), (std::vector{1, 2, 3}));
  EXPECT_EQ(IdFieldsOf(FullAccount()), (std::vector{1, 3}));
  // 6 is the state: text of three bytes is no number, and 0 no state.
  EXPECT_EQ(IdFieldsOf(FullAttempt()), (std::vector{1, 2, 3, 4, 5, 6}));
  EXPECT_EQ(IdFieldsOf(FullConnection()), (std::vector{1, 2, 3, 8}));
  EXPECT_EQ(IdFieldsOf(FullAuthority()), std::vector<int>());
}

TEST(Rows, Decode_RefusesUnknownStates) {
  const auto decode = [](char state) {
    return DecodeWith(FullAttempt(), 6, std::string{state, 0, 0, 0, 0, 0, 0, 0}).has_value();
  };
  EXPECT_FALSE(decode(0));
  for (char state = 1; state <= 7; ++state) EXPECT_TRUE(decode(state));
  EXPECT_FALSE(decode(8));
  EXPECT_FALSE(DecodeWith(FullAttempt(), 6, std::string{1, 1, 0, 0, 0, 0, 0, 0}).has_value());
}

// Fields that came after the golden rows were written: kept, and absent in what is older.
TEST(Rows, Decode_KeepsLaterFieldsAndReadsRowsThatLackThem) {
  Account account = FullAccount();
  account.refused_at_s = 201;
  Connection connection = FullConnection();
  connection.principal = "spiffe://vault.example/runner/connector";
  connection.refusal = "not_permitted";
  connection.refused_version = 202;
  connection.seen_changed_at_ms = 203;
  connection.properties = "{\"description\":\"of a connection\"}";
  connection.written_data = "written-data-hash";
  const auto decoded = []<Row R>(const R& row) {
    return *R::Decode(*FieldReader::Parse(Encoded(row)));
  };
  EXPECT_EQ(decoded(account), account);
  EXPECT_EQ(decoded(connection), connection);
  EXPECT_EQ(decoded(FullAccount()), FullAccount());
  EXPECT_EQ(decoded(FullConnection()), FullConnection());
}

TEST(Rows, Decode_TakesTheStarWhereItMayStand) {
  EXPECT_TRUE(DecodeWith(FullGrant(), 2, "*").has_value());
  EXPECT_TRUE(DecodeWith(FullGrant(), 3, "*").has_value());
  EXPECT_TRUE(DecodeWith(FullAccount(), 3, "*").has_value());
  EXPECT_FALSE(DecodeWith(FullCredentials(), 1, "*").has_value());
}

TEST(Rows, Decode_RefusesAnEmptyRowThatNeedsAnId) {
  const Result<FieldReader> nothing = FieldReader::Parse(crypto::SecretBytes());
  EXPECT_FALSE(Project::Decode(*nothing).has_value());
  EXPECT_FALSE(Grant::Decode(*nothing).has_value());
  EXPECT_FALSE(Attempt::Decode(*nothing).has_value());
}

}  // namespace
}  // namespace oauthvault::storage
