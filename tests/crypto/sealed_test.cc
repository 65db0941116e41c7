#include "crypto/sealed.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "tests/crypto/hex.h"

namespace oauthvault::crypto {
namespace {

// Of the layout in ENVELOPE.md, for a row with three parts.
constexpr std::size_t kHeaderSize = 17 + 3 * 5;
constexpr std::size_t kPartsAt = kHeaderSize + 24 + 48 + 32;
constexpr std::size_t kCommitmentAt = kHeaderSize + 24 + 48;
constexpr std::uint32_t kVersionOfKek = 3;
constexpr std::uint64_t kVersionOfRecord = 7;
constexpr std::array kAllParts{Part::kMeta, Part::kData, Part::kAppSecret};

VaultId SomeVault() { return {1, 2, 3}; }
RowKey SomeKey() {
  RowKey key;
  key.bytes = {9, 8, 7};
  return key;
}

std::string TextOf(Part part) {
  switch (part) {
    case Part::kMeta: return "{\"id\":\"main\"}";
    case Part::kData: return "{\"access_token\":\"ya29.A0Af\",\"refresh_token\":\"1//0e\"}";
    case Part::kAppSecret: return "GOCSPX-app-secret";
  }
  std::abort();
}

PlainParts AllParts() {
  PlainParts parts;
  parts.meta = SecretBytes::CopyOf(TextOf(Part::kMeta));
  parts.data = SecretBytes::CopyOf(TextOf(Part::kData));
  parts.app_secret = SecretBytes::CopyOf(TextOf(Part::kAppSecret));
  return parts;
}

SealedRow Sealed(const Kek& kek, const PlainParts& parts, const RowKey& key = SomeKey(),
                 std::uint64_t record_version = kVersionOfRecord) {
  Result<SealedRow> row =
      SealRow(kek, kVersionOfKek, SomeVault(), key, record_version, parts);
  EXPECT_TRUE(row.has_value());
  return std::move(*row);
}

std::string TextOf(const SecretBytes& secret) {
  return secret.Expose([](auto bytes) { return std::string(bytes.begin(), bytes.end()); });
}

std::vector<std::uint8_t> BytesOf(const SealedRow& row) {
  return {row.Bytes().begin(), row.Bytes().end()};
}

struct Openings {
  int refused = 0;
  int wrong = 0;
};

// Opens each part that the original row had.
Openings OpenAll(const Kek& kek, const SealedRow& row) {
  Openings openings;
  for (const Part part : kAllParts) {
    const Result<SecretBytes> plain = OpenPart(kek, SomeVault(), SomeKey(), row, part);
    if (!plain) {
      ++openings.refused;
    } else if (TextOf(*plain) != TextOf(part)) {
      ++openings.wrong;
    }
  }
  return openings;
}

class Row : public testing::Test {
 protected:
  const Kek kek_{RandomKey()};
};

TEST_F(Row, Seal_OpensAgainPartByPart) {
  const SealedRow row = Sealed(kek_, AllParts());
  EXPECT_EQ(row.KekVersion(), kVersionOfKek);
  EXPECT_EQ(row.RecordVersion(), kVersionOfRecord);
  const Result<SealedRow> stored = SealedRow::Parse(row.Bytes());
  ASSERT_TRUE(stored.has_value());
  for (const Part part : kAllParts) {
    EXPECT_TRUE(stored->Has(part));
    EXPECT_EQ(stored->PlainSize(part), TextOf(part).size());
    const Result<SecretBytes> plain = OpenPart(kek_, SomeVault(), SomeKey(), *stored, part);
    ASSERT_TRUE(plain.has_value());
    EXPECT_EQ(TextOf(*plain), TextOf(part));
  }
}

TEST_F(Row, Seal_HidesThePlaintextAndNeverRepeatsItself) {
  const SealedRow row = Sealed(kek_, AllParts());
  const SealedRow again = Sealed(kek_, AllParts());
  const std::string bytes(row.Bytes().begin(), row.Bytes().end());
  for (const Part part : kAllParts) EXPECT_EQ(bytes.find(TextOf(part)), std::string::npos);
  EXPECT_FALSE(std::ranges::equal(row.Bytes().subspan(kPartsAt), again.Bytes().subspan(kPartsAt)));
}

TEST_F(Row, APartThatIsAbsent_IsNotFoundAndTakesNoSpace) {
  PlainParts parts;
  parts.meta = SecretBytes::CopyOf(TextOf(Part::kMeta));
  const SealedRow row = Sealed(kek_, parts);
  EXPECT_TRUE(row.Has(Part::kMeta));
  for (const Part part : {Part::kData, Part::kAppSecret}) {
    EXPECT_FALSE(row.Has(part));
    EXPECT_EQ(row.PlainSize(part), 0u);
    const auto plain = OpenPart(kek_, SomeVault(), SomeKey(), row, part);
    ASSERT_FALSE(plain.has_value());
    EXPECT_EQ(plain.error().GetCode(), Code::kNotFound);
  }
  EXPECT_EQ(row.Bytes().size(), TextOf(Part::kMeta).size() + 17 + 5 + 24 + 48 + 32 + 16);
}

TEST_F(Row, APartThatIsEmpty_IsThereAndAuthentic) {
  PlainParts parts;
  parts.app_secret = SecretBytes();
  const SealedRow row = Sealed(kek_, parts);
  EXPECT_TRUE(row.Has(Part::kAppSecret));
  EXPECT_FALSE(row.Has(Part::kData));
  const auto plain = OpenPart(kek_, SomeVault(), SomeKey(), row, Part::kAppSecret);
  ASSERT_TRUE(plain.has_value());
  EXPECT_TRUE(plain->Empty());
  std::vector<std::uint8_t> bytes = BytesOf(row);
  bytes.back() ^= 1;
  EXPECT_FALSE(OpenPart(kek_, SomeVault(), SomeKey(), *SealedRow::Parse(bytes), Part::kAppSecret));
}

TEST_F(Row, CredentialsWithAKibibyteOfData_StaySmall) {
  PlainParts parts;
  parts.meta = SecretBytes(140);
  parts.data = SecretBytes(1024);
  EXPECT_LE(Sealed(kek_, parts).Bytes().size(), 1330u);
}

TEST_F(Row, Seal_RefusesAPartBeyondTheLimit) {
  PlainParts parts;
  parts.data = SecretBytes(kMaxPartSize);
  const auto most = SealRow(kek_, 1, SomeVault(), SomeKey(), 1, parts);
  ASSERT_TRUE(most.has_value());
  EXPECT_TRUE(OpenPart(kek_, SomeVault(), SomeKey(), *most, Part::kData).has_value());
  parts.data = SecretBytes(kMaxPartSize + 1);
  const auto more = SealRow(kek_, 1, SomeVault(), SomeKey(), 1, parts);
  ASSERT_FALSE(more.has_value());
  EXPECT_EQ(more.error().GetCode(), Code::kInvalid);
}

TEST_F(Row, Seal_RefusesVersionsOfZero) {
  for (const auto& [kek_version, record_version] : {std::pair(0, 1), std::pair(1, 0)}) {
    const auto row = SealRow(kek_, static_cast<std::uint32_t>(kek_version), SomeVault(), SomeKey(),
                             static_cast<std::uint64_t>(record_version), AllParts());
    ASSERT_FALSE(row.has_value());
    EXPECT_EQ(row.error().GetCode(), Code::kInvalid);
  }
}

TEST_F(Row, EveryFlippedBit_IsRefusedAndNeverGivesAnotherPlaintext) {
  const SealedRow row = Sealed(kek_, AllParts());
  ASSERT_EQ(OpenAll(kek_, row).refused, 0);
  for (std::size_t bit = 0; bit < row.Bytes().size() * 8; ++bit) {
    std::vector<std::uint8_t> bytes = BytesOf(row);
    bytes[bit / 8] = static_cast<std::uint8_t>(bytes[bit / 8] ^ (1u << (bit % 8)));
    const Result<SealedRow> flipped = SealedRow::Parse(bytes);
    if (!flipped) {
      EXPECT_EQ(flipped.error().GetCode(), Code::kCorrupt);
      continue;
    }
    const Openings openings = OpenAll(kek_, *flipped);
    EXPECT_EQ(openings.wrong, 0) << "bit " << bit;
    // Before the parts a flip concerns the whole row; in a part it concerns that part.
    EXPECT_EQ(openings.refused, bit / 8 < kPartsAt ? 3 : 1) << "bit " << bit;
  }
}

TEST_F(Row, EveryOtherLength_IsRefused) {
  const std::vector<std::uint8_t> bytes = BytesOf(Sealed(kek_, AllParts()));
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    const auto row = SealedRow::Parse(std::span(bytes).first(size));
    ASSERT_FALSE(row.has_value()) << size;
    EXPECT_EQ(row.error().GetCode(), Code::kCorrupt);
  }
  std::vector<std::uint8_t> longer = bytes;
  longer.push_back(0);
  EXPECT_FALSE(SealedRow::Parse(longer).has_value());
}

TEST_F(Row, ARowUnderAnotherName_IsRefused) {
  const SealedRow row = Sealed(kek_, AllParts());
  for (std::size_t byte = 0; byte < kRowKeySize; ++byte) {
    RowKey other = SomeKey();
    other.bytes[byte] ^= 0x80;
    const auto plain = OpenPart(kek_, SomeVault(), other, row, Part::kData);
    ASSERT_FALSE(plain.has_value());
    EXPECT_EQ(plain.error().GetCode(), Code::kCorrupt);
  }
}

TEST_F(Row, ARowOfAnotherVault_IsRefused) {
  const SealedRow row = Sealed(kek_, AllParts());
  for (std::size_t byte = 0; byte < kVaultIdSize; ++byte) {
    VaultId other = SomeVault();
    other[byte] ^= 1;
    EXPECT_FALSE(OpenPart(kek_, other, SomeKey(), row, Part::kMeta).has_value());
  }
}

TEST_F(Row, AnotherKek_IsRefused) {
  const SealedRow row = Sealed(kek_, AllParts());
  for (std::size_t byte = 0; byte < kKeySize; ++byte) {
    SecretBytes other = kek_.Bytes().Clone();
    other.Fill([&](auto bytes) { bytes[byte] ^= 1; });
    const auto plain = OpenPart(Kek(std::move(other)), SomeVault(), SomeKey(), row, Part::kMeta);
    ASSERT_FALSE(plain.has_value());
    EXPECT_EQ(plain.error().GetCode(), Code::kCorrupt);
  }
}

TEST_F(Row, AnOlderRow_CannotPassAsANewerOne) {
  std::vector<std::uint8_t> bytes = BytesOf(Sealed(kek_, AllParts()));
  bytes[8] = kVersionOfRecord + 1;
  const auto row = SealedRow::Parse(bytes);
  ASSERT_TRUE(row.has_value());
  EXPECT_EQ(row->RecordVersion(), kVersionOfRecord + 1);
  EXPECT_EQ(OpenAll(kek_, *row).refused, 3);
}

TEST_F(Row, PartsThatChangedPlaces_AreRefused) {
  PlainParts parts;
  parts.meta = SecretBytes::CopyOf(std::string_view("1234567890"));
  parts.data = SecretBytes::CopyOf(std::string_view("abcdefghij"));
  std::vector<std::uint8_t> bytes = BytesOf(Sealed(kek_, parts));
  const auto sealed = std::span(bytes).last(2 * (10 + kTagSize));
  std::ranges::swap_ranges(sealed.first(10 + kTagSize), sealed.last(10 + kTagSize));
  const auto row = SealedRow::Parse(bytes);
  ASSERT_TRUE(row.has_value());
  for (const Part part : {Part::kMeta, Part::kData}) {
    EXPECT_FALSE(OpenPart(kek_, SomeVault(), SomeKey(), *row, part).has_value());
  }
}

TEST_F(Row, PartsOfAnotherWriteOfTheSameRow_AreRefused) {
  std::vector<std::uint8_t> bytes = BytesOf(Sealed(kek_, AllParts()));
  const SealedRow other = Sealed(kek_, AllParts());
  const auto tail = other.Bytes().subspan(kPartsAt);
  std::ranges::copy(tail, bytes.begin() + static_cast<std::ptrdiff_t>(kPartsAt));
  EXPECT_EQ(OpenAll(kek_, *SealedRow::Parse(bytes)).refused, 3);
}

TEST_F(Row, ADataKeyOfAnotherRow_IsRefused) {
  RowKey other_key = SomeKey();
  other_key.bytes.back() = 1;
  std::vector<std::uint8_t> bytes = BytesOf(Sealed(kek_, AllParts()));
  const SealedRow other = Sealed(kek_, AllParts(), other_key);
  // Everything but the header: wrap, commitment and parts of the other row.
  const auto tail = other.Bytes().subspan(kHeaderSize);
  std::ranges::copy(tail, bytes.begin() + static_cast<std::ptrdiff_t>(kHeaderSize));
  EXPECT_EQ(OpenAll(kek_, *SealedRow::Parse(bytes)).refused, 3);
}

TEST_F(Row, ARowWithoutOneOfItsParts_IsRefused) {
  const SealedRow row = Sealed(kek_, AllParts());
  std::vector<std::uint8_t> bytes = BytesOf(row);
  // As if the row had never had an app secret: table and ciphertext cut, sizes right.
  bytes.resize(bytes.size() - TextOf(Part::kAppSecret).size() - kTagSize);
  bytes.erase(bytes.begin() + 17 + 2 * 5, bytes.begin() + 17 + 3 * 5);
  bytes[16] = 2;
  const auto cut = SealedRow::Parse(bytes);
  ASSERT_TRUE(cut.has_value());
  EXPECT_FALSE(cut->Has(Part::kAppSecret));
  EXPECT_EQ(OpenAll(kek_, *cut).refused, 3);
}

TEST_F(Row, TheCommitment_IsCheckedBeforeThePart) {
  std::vector<std::uint8_t> bytes = BytesOf(Sealed(kek_, AllParts()));
  bytes[kCommitmentAt] ^= 1;
  bytes[kPartsAt] ^= 1;
  const auto plain =
      OpenPart(kek_, SomeVault(), SomeKey(), *SealedRow::Parse(bytes), Part::kMeta);
  ASSERT_FALSE(plain.has_value());
  EXPECT_EQ(plain.error().GetText(), "the commitment of a row does not verify");
}

TEST_F(Row, OpenPartInto_LeavesTheBufferWipedOnEveryFailure) {
  const SealedRow row = Sealed(kek_, AllParts());
  const auto part_key = OpenPartKey(kek_, SomeVault(), SomeKey(), row);
  ASSERT_TRUE(part_key.has_value());
  // In the part's first byte, in its tag.
  for (const std::size_t at : {kPartsAt, kPartsAt + TextOf(Part::kMeta).size()}) {
    std::vector<std::uint8_t> bytes = BytesOf(row);
    bytes[at] ^= 1;
    std::vector<std::uint8_t> plain(row.PlainSize(Part::kMeta), 0xAA);
    const auto opened = OpenPartInto(*part_key, SomeVault(), SomeKey(), *SealedRow::Parse(bytes),
                                     Part::kMeta, plain);
    ASSERT_FALSE(opened.has_value()) << at;
    EXPECT_EQ(opened.error().GetCode(), Code::kCorrupt);
    EXPECT_EQ(plain, std::vector<std::uint8_t>(plain.size())) << at;
  }
}

TEST_F(Row, OpenPartInto_UnderThePartKeyOfAnotherWriteOfTheRowIsCorrupt) {
  const SealedRow row = Sealed(kek_, AllParts());
  const SealedRow again = Sealed(kek_, AllParts());
  const auto part_key = OpenPartKey(kek_, SomeVault(), SomeKey(), again);
  ASSERT_TRUE(part_key.has_value());
  for (const Part part : kAllParts) {
    std::vector<std::uint8_t> plain(row.PlainSize(part), 0xAA);
    const auto opened = OpenPartInto(*part_key, SomeVault(), SomeKey(), row, part, plain);
    ASSERT_FALSE(opened.has_value());
    EXPECT_EQ(opened.error().GetCode(), Code::kCorrupt);
    EXPECT_EQ(plain, std::vector<std::uint8_t>(plain.size()));
  }
}

TEST_F(Row, OpenPartInto_RefusesABufferOfAnotherSize) {
  const SealedRow row = Sealed(kek_, AllParts());
  const auto part_key = OpenPartKey(kek_, SomeVault(), SomeKey(), row);
  ASSERT_TRUE(part_key.has_value());
  for (const int difference : {-1, 1}) {
    std::vector<std::uint8_t> plain(
        row.PlainSize(Part::kMeta) + static_cast<std::size_t>(difference), 0xAA);
    const auto opened =
        OpenPartInto(*part_key, SomeVault(), SomeKey(), row, Part::kMeta, plain);
    ASSERT_FALSE(opened.has_value());
    EXPECT_EQ(opened.error().GetCode(), Code::kInvalid);
    EXPECT_EQ(plain, std::vector<std::uint8_t>(plain.size()));
  }
}

// A row's bytes with this part table, all sizes right and nothing authentic.
std::vector<std::uint8_t> RowWithTable(
    const std::vector<std::pair<std::uint8_t, std::uint32_t>>& table) {
  std::vector<std::uint8_t> bytes{'O', 'V', 1, 1, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0};
  bytes.push_back(static_cast<std::uint8_t>(table.size()));
  std::size_t size = 24 + 48 + 32;
  for (const auto& [part, part_size] : table) {
    bytes.push_back(part);
    for (int shift = 0; shift < 32; shift += 8) {
      bytes.push_back(static_cast<std::uint8_t>(part_size >> shift));
    }
    size += part_size + kTagSize;
  }
  bytes.resize(bytes.size() + size);
  return bytes;
}

TEST_F(Row, APartTable_HasOneSpelling) {
  EXPECT_TRUE(SealedRow::Parse(RowWithTable({{1, 5}})).has_value());
  EXPECT_TRUE(SealedRow::Parse(RowWithTable({{1, 5}, {3, 0}})).has_value());
  EXPECT_TRUE(SealedRow::Parse(RowWithTable({{1, 0}, {2, 131072}, {3, 7}})).has_value());
  for (const auto& table : std::vector<std::vector<std::pair<std::uint8_t, std::uint32_t>>>{
           {},                                // no part
           {{2, 5}},                          // no meta
           {{2, 5}, {3, 5}},                  // no meta
           {{0, 5}},                          // no such part
           {{1, 5}, {4, 5}},                  // no such part
           {{2, 5}, {1, 5}},                  // not ascending
           {{1, 5}, {1, 5}},                  // twice
           {{1, 5}, {3, 5}, {2, 5}},          // not ascending
           {{1, 5}, {2, 5}, {3, 5}, {3, 5}},  // too many
           {{1, 131073}}}) {                  // beyond the limit
    const auto row = SealedRow::Parse(RowWithTable(table));
    ASSERT_FALSE(row.has_value());
    EXPECT_EQ(row.error().GetCode(), Code::kCorrupt);
  }
}

TEST_F(Row, Versions_CountFromOneInStoredRowsToo) {
  for (const std::size_t at : {4u, 8u}) {
    std::vector<std::uint8_t> bytes = RowWithTable({{1, 5}});
    bytes[at] = 0;
    EXPECT_FALSE(SealedRow::Parse(bytes).has_value());
  }
}

TEST_F(Row, Parse_WithstandsAnyBytes) {
  const std::vector<std::uint8_t> good = BytesOf(Sealed(kek_, AllParts()));
  std::mt19937 random(1);
  int parsed = 0;
  for (int round = 0; round < 20000; ++round) {
    std::vector<std::uint8_t> bytes = good;
    const std::size_t changes = 1 + random() % 4;
    for (std::size_t i = 0; i < changes; ++i) {
      bytes[random() % kHeaderSize] = static_cast<std::uint8_t>(random());
    }
    bytes.resize(random() % 4 == 0 ? random() % (2 * good.size()) : bytes.size());
    const auto row = SealedRow::Parse(bytes);
    if (!row) continue;
    ++parsed;
    std::size_t claimed = 0;
    for (const Part part : kAllParts) claimed += row->PlainSize(part);
    EXPECT_LT(claimed, bytes.size());
    EXPECT_TRUE(row->Has(Part::kMeta));
    EXPECT_EQ(OpenAll(kek_, *row).wrong, 0);
  }
  EXPECT_GT(parsed, 0);
}

class Wrapped : public testing::Test {
 protected:
  const SecretBytes wrapping_ = RandomKey();
  const SecretBytes key_ = RandomKey();
  const std::array<std::string_view, 3> bound_to_{"label", "ab", "c"};
};

TEST_F(Wrapped, Key_UnwrapsAgain) {
  const WrappedKey wrapped = WrapKey(wrapping_, key_, bound_to_);
  const auto unwrapped = UnwrapKey(wrapping_, wrapped, bound_to_);
  ASSERT_TRUE(unwrapped.has_value());
  EXPECT_TRUE(unwrapped->Equals(key_));
  EXPECT_NE(wrapped, WrapKey(wrapping_, key_, bound_to_));
}

TEST_F(Wrapped, Key_RefusesEveryFlippedBit) {
  const WrappedKey wrapped = WrapKey(wrapping_, key_, bound_to_);
  for (std::size_t bit = 0; bit < wrapped.size() * 8; ++bit) {
    WrappedKey flipped = wrapped;
    flipped[bit / 8] = static_cast<std::uint8_t>(flipped[bit / 8] ^ (1u << (bit % 8)));
    const auto unwrapped = UnwrapKey(wrapping_, flipped, bound_to_);
    ASSERT_FALSE(unwrapped.has_value()) << bit;
    EXPECT_EQ(unwrapped.error().GetCode(), Code::kCorrupt);
  }
}

TEST_F(Wrapped, Key_RefusesAnotherWrappingKey) {
  const auto unwrapped = UnwrapKey(RandomKey(), WrapKey(wrapping_, key_, bound_to_), bound_to_);
  ASSERT_FALSE(unwrapped.has_value());
  EXPECT_EQ(unwrapped.error().GetCode(), Code::kCorrupt);
}

TEST_F(Wrapped, Key_RefusesOtherFieldsEvenWithTheSameBytes) {
  const WrappedKey wrapped = WrapKey(wrapping_, key_, bound_to_);
  const std::vector<std::vector<std::string_view>> others{
      {"label", "a", "bc"}, {"label", "abc"}, {"label", "ab", "c", ""}, {"labelab", "c"}, {}};
  for (const auto& other : others) {
    EXPECT_FALSE(UnwrapKey(wrapping_, wrapped, other).has_value());
  }
}

TEST(KeyedHash, ForgesNoSeparator) {
  const SecretBytes key = RandomKey();
  const auto hash = [&](std::vector<std::string_view> fields) {
    return ToHex(KeyedHash(key, fields, 16));
  };
  EXPECT_EQ(hash({"ab", "c"}), hash({"ab", "c"}));
  EXPECT_NE(hash({"ab", "c"}), hash({"a", "bc"}));
  EXPECT_NE(hash({"ab", "c"}), hash({"abc"}));
  EXPECT_NE(hash({"ab", "c"}), hash({"ab", "c", ""}));
  EXPECT_NE(hash({}), hash({""}));
}

TEST(KeyedHash, GivesTheSizeAskedForAndDependsOnTheKey) {
  const SecretBytes key = RandomKey();
  const std::array<std::string_view, 1> fields{"x"};
  for (const std::size_t size : {8u, 16u, 32u, 64u}) {
    EXPECT_EQ(KeyedHash(key, fields, size).size(), size);
    EXPECT_NE(KeyedHash(key, fields, size), KeyedHash(RandomKey(), fields, size));
  }
}

TEST(DeriveKey, GivesEachUseItsOwnKey) {
  const SecretBytes key = RandomKey();
  const SecretBytes one = DeriveKey(key, std::array<std::string_view, 1>{"one"});
  EXPECT_EQ(one.Size(), kKeySize);
  EXPECT_TRUE(one.Equals(DeriveKey(key, std::array<std::string_view, 1>{"one"})));
  EXPECT_FALSE(one.Equals(DeriveKey(key, std::array<std::string_view, 1>{"two"})));
  EXPECT_FALSE(one.Equals(key));
}

}  // namespace
}  // namespace oauthvault::crypto
