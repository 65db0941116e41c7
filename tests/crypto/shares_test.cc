#include "crypto/shares.h"

#include <gtest/gtest.h>
extern "C" {
#include <libgfshare.h>
}
#include <sodium.h>

#include <algorithm>
#include <bit>
#include <set>

#include "crypto/sealed.h"
#include "tests/crypto/hex.h"

namespace oauthvault::crypto {
namespace {

constexpr ShareSetId kSet{1, 2, 3, 4, 5};

std::string StringOf(const SecretBytes& secret) {
  return secret.Expose([](auto bytes) { return std::string(bytes.begin(), bytes.end()); });
}

std::vector<std::uint8_t> BytesOf(const SecretBytes& secret) {
  return secret.Expose([](auto bytes) { return std::vector(bytes.begin(), bytes.end()); });
}

Share CopyOf(const Share& share) {
  return {share.parameters, share.index, share.payload.Clone()};
}

// Those of the shares whose bits are set in `chosen`.
std::vector<Share> Chosen(const std::vector<Share>& shares, unsigned chosen) {
  std::vector<Share> some;
  for (std::size_t i = 0; i < shares.size(); ++i) {
    if (((chosen >> i) & 1U) != 0) some.push_back(CopyOf(shares[i]));
  }
  return some;
}

std::optional<JoinedShares> Join(const std::vector<Share>& shares, const SecretBytes& secret) {
  return JoinShares(shares, [&](const SecretBytes& found) { return found.Equals(secret); });
}

// Not by one and the same change each time: equal ones can cancel out.
void Spoil(Share& share) { share.payload = RandomKey(); }

TEST(Shares, EveryChoiceOfEnough_GivesTheSecretAndNoSmallerOneDoes) {
  for (const auto& [threshold, total] :
       {std::pair(2, 2), {2, 3}, {3, 5}, {5, 5}, {2, 16}, {8, 10}, {16, 16}}) {
    const SecretBytes secret = RandomKey();
    const auto shares = SplitSecret(secret, {kSet, static_cast<std::uint8_t>(threshold),
                                             static_cast<std::uint8_t>(total)});
    ASSERT_EQ(shares.size(), static_cast<std::size_t>(total));
    for (unsigned chosen = 0; chosen < 1U << total; ++chosen) {
      const int count = std::popcount(chosen);
      if (count > threshold || count < threshold - 1) continue;
      const auto joined = Join(Chosen(shares, chosen), secret);
      ASSERT_EQ(joined.has_value(), count == threshold) << chosen;
      ASSERT_TRUE(!joined || joined->wrong.empty());
    }
  }
}

TEST(Shares, ASharesPayload_SaysNothingByItself) {
  // With fixed coefficients two splits of one secret would give the same shares.
  const SecretBytes secret = RandomKey();
  const auto one = SplitSecret(secret, {kSet, 2, 3});
  const auto two = SplitSecret(secret, {kSet, 2, 3});
  for (std::size_t i = 0; i < one.size(); ++i) {
    EXPECT_FALSE(one[i].payload.Equals(two[i].payload));
    EXPECT_FALSE(one[i].payload.Equals(secret));
  }
  // The highest coefficient is random too: two shares of three-of-three fit any secret.
  const auto high = SplitSecret(secret, {kSet, 3, 3});
  const auto again = SplitSecret(secret, {kSet, 3, 3});
  EXPECT_FALSE(high[2].payload.Equals(again[2].payload));
}

TEST(Shares, OfLibgfshare_AreJoined) {
  gfshare_fill_rand = [](unsigned char* bytes, unsigned size) { randombytes_buf(bytes, size); };
  for (int round = 0; round < 20; ++round) {
    const std::uint8_t threshold = static_cast<std::uint8_t>(2 + round % 5);
    std::array<unsigned char, 7> numbers{1, 2, 3, 4, 5, 6, 7};
    const SecretBytes secret = RandomKey();
    std::vector<std::uint8_t> bytes = BytesOf(secret);
    gfshare_ctx* const split = gfshare_ctx_init_enc(numbers.data(), numbers.size(), threshold, 32);
    gfshare_ctx_enc_setsecret(split, bytes.data());
    std::vector<Share> shares;
    for (std::uint8_t i = 0; i < numbers.size(); ++i) {
      std::array<std::uint8_t, 32> payload{};
      gfshare_ctx_enc_getshare(split, i, payload.data());
      shares.push_back({{kSet, threshold, 7}, numbers[i], SecretBytes::CopyOf(payload)});
    }
    gfshare_ctx_free(split);
    for (unsigned chosen = 0; chosen < 1U << shares.size(); ++chosen) {
      if (std::popcount(chosen) != threshold) continue;
      ASSERT_TRUE(Join(Chosen(shares, chosen), secret).has_value());
    }
  }
}

TEST(Shares, AreJoinedByLibgfshare) {
  // It overwrites what it frees with what this gives.
  gfshare_fill_rand = [](unsigned char* bytes, unsigned size) { randombytes_buf(bytes, size); };
  for (int round = 0; round < 20; ++round) {
    const std::uint8_t threshold = static_cast<std::uint8_t>(2 + round % 5);
    const SecretBytes secret = RandomKey();
    const auto shares = SplitSecret(secret, {kSet, threshold, kMostShares});
    for (unsigned first = 0; first + threshold <= shares.size(); ++first) {
      std::vector<unsigned char> numbers;
      for (std::uint8_t i = 0; i < threshold; ++i) numbers.push_back(shares[first + i].index);
      gfshare_ctx* const join =
          gfshare_ctx_init_dec(numbers.data(), static_cast<unsigned>(numbers.size()), 32);
      for (std::uint8_t i = 0; i < threshold; ++i) {
        gfshare_ctx_dec_giveshare(join, i, BytesOf(shares[first + i].payload).data());
      }
      std::vector<std::uint8_t> joined(32);
      gfshare_ctx_dec_extract(join, joined.data());
      gfshare_ctx_free(join);
      ASSERT_EQ(joined, BytesOf(secret));
    }
  }
}

TEST(Shares, MultiplyAsTheRfcSays) {
  const auto powers = FromHex(ReadVectors("vectors/gf256_exp.txt").front().at("powers"));
  ASSERT_EQ(powers.size(), 255u);
  std::array<std::size_t, 256> logarithm{};
  for (std::size_t i = 0; i < powers.size(); ++i) logarithm[powers[i]] = i;
  const auto product = [&](std::uint8_t a, std::uint8_t b) {
    return a == 0 || b == 0 ? std::uint8_t{0} : powers[(logarithm[a] + logarithm[b]) % 255];
  };
  // Share x of 2 of 16 is s + c x, so that share 1 gives c.
  std::set<std::pair<int, int>> seen;
  while (seen.size() < 15 * 256) {
    const SecretBytes secret = RandomKey();
    const auto s = BytesOf(secret);
    const auto shares = SplitSecret(secret, {kSet, 2, 16});
    const auto one = BytesOf(shares[0].payload);
    for (std::uint8_t x = 2; x <= 16; ++x) {
      const auto payload = BytesOf(shares[x - 1].payload);
      for (std::size_t i = 0; i < payload.size(); ++i) {
        const std::uint8_t c = static_cast<std::uint8_t>(s[i] ^ one[i]);
        ASSERT_EQ(payload[i], s[i] ^ product(c, x)) << int{c} << " " << int{x};
        seen.emplace(x, c);
      }
    }
  }
}

TEST(Shares, OneMoreThanEnoughWithOneWrong_GivesTheSecretAndNamesIt) {
  for (const auto& [threshold, total] : {std::pair(2, 3), {3, 5}, {8, 16}}) {
    const SecretBytes secret = RandomKey();
    const auto shares = SplitSecret(secret, {kSet, static_cast<std::uint8_t>(threshold),
                                             static_cast<std::uint8_t>(total)});
    for (int wrong = 0; wrong <= threshold; ++wrong) {
      auto given = Chosen(shares, (1U << (threshold + 1)) - 1U);
      Spoil(given[static_cast<std::size_t>(wrong)]);
      const auto joined = Join(given, secret);
      ASSERT_TRUE(joined.has_value());
      EXPECT_TRUE(joined->secret.Equals(secret));
      ASSERT_EQ(joined->wrong.size(), 1u);
      EXPECT_EQ(joined->wrong[0].Index(), wrong + 1);
      EXPECT_EQ(joined->wrong[0].Str(), std::to_string(wrong + 1) + " of set aebagbaf");
    }
  }
}

TEST(Shares, SixteenWithEightWrong_StillGiveTheSecretInTime) {
  const SecretBytes secret = RandomKey();
  auto shares = SplitSecret(secret, {kSet, 8, 16});
  // The last choice that is tried.
  for (std::size_t i = 0; i < 8; ++i) Spoil(shares[i]);
  int tries = 0;
  const auto joined = JoinShares(shares, [&](const SecretBytes& found) {
    ++tries;
    return found.Equals(secret);
  });
  ASSERT_TRUE(joined.has_value());
  EXPECT_EQ(joined->wrong.size(), 8u);
  EXPECT_EQ(tries, 12870);
}

TEST(Shares, TwoOfOneNumber_AreNotJoinedButTold) {
  const SecretBytes secret = RandomKey();
  const auto shares = SplitSecret(secret, {kSet, 2, 3});
  std::vector<Share> given;
  given.push_back(CopyOf(shares[1]));
  given.push_back(CopyOf(shares[1]));
  Spoil(given[0]);
  int tries = 0;
  const auto is_secret = [&](const SecretBytes& found) {
    ++tries;
    return found.Equals(secret);
  };
  EXPECT_FALSE(JoinShares(given, is_secret).has_value());
  EXPECT_EQ(tries, 0);
  given.push_back(CopyOf(shares[2]));
  const auto joined = JoinShares(given, is_secret);
  ASSERT_TRUE(joined.has_value());
  EXPECT_EQ(tries, 2);
  ASSERT_EQ(joined->wrong.size(), 1u);
  EXPECT_EQ(joined->wrong[0].Index(), 2);
}

TEST(Shares, MoreThanThereMayBe_AreNotTried) {
  const SecretBytes secret = RandomKey();
  auto shares = SplitSecret(secret, {kSet, 2, 16});
  shares.push_back(CopyOf(shares[0]));
  EXPECT_FALSE(Join(shares, secret).has_value());
  EXPECT_FALSE(Join({}, secret).has_value());
}

TEST(Shares, Parameters_LieInTheirBounds) {
  EXPECT_TRUE(AreShareParameters({kSet, 2, 2}));
  EXPECT_TRUE(AreShareParameters({kSet, 16, 16}));
  for (const auto& [threshold, total] :
       {std::pair(0, 0), {1, 1}, {1, 2}, {3, 2}, {2, 17}, {17, 17}, {2, 255}}) {
    EXPECT_FALSE(AreShareParameters({kSet, static_cast<std::uint8_t>(threshold),
                                     static_cast<std::uint8_t>(total)}));
  }
}

TEST(ShareText, IsSpelledAsThePageSays) {
  std::vector<std::uint8_t> payload(32);
  for (std::size_t i = 0; i < payload.size(); ++i) payload[i] = static_cast<std::uint8_t>(i);
  const Share share{{kSet, 2, 13}, 11, SecretBytes::CopyOf(payload)};
  const std::string text = StringOf(TextOf(share));
  // The payload as Python's base64.b32encode gives it, in lower case, without padding.
  EXPECT_TRUE(text.starts_with(
      "ov1-aebagbaf-2of13-11-aaaqeayeaudaocajbifqydiob4ibceqtcqkrmfyydenbwha5dypq-"));
  EXPECT_EQ(text.size(), 83u);
  EXPECT_TRUE(LooksLikeShare(text));
}

TEST(ShareText, Read_GivesTheShare) {
  for (const auto& [threshold, total] : {std::pair(2, 2), {2, 10}, {10, 16}}) {
    const SecretBytes secret = RandomKey();
    const ShareParameters parameters{kSet, static_cast<std::uint8_t>(threshold),
                                     static_cast<std::uint8_t>(total)};
    for (const Share& share : SplitSecret(secret, parameters)) {
      const std::string text = StringOf(TextOf(share));
      EXPECT_GE(text.size(), 81u);
      EXPECT_LE(text.size(), kMostShareText);
      const auto read = ParseShare(text, 1);
      ASSERT_TRUE(read.has_value()) << text;
      EXPECT_EQ(read->parameters, parameters);
      EXPECT_EQ(read->index, share.index);
      EXPECT_TRUE(read->payload.Equals(share.payload));
    }
  }
}

class DamagedShare : public testing::Test {
 protected:
  // A share that was damaged is taken for one, refused, and named.
  void ExpectNamed(const std::string& text) {
    ++damaged_;
    ASSERT_TRUE(LooksLikeShare(text)) << text;
    const auto read = ParseShare(text, kPosition);
    ASSERT_FALSE(read.has_value()) << text;
    ASSERT_EQ(read.error().GetCode(), Code::kInvalid) << text;
    const std::string& name = read.error().GetSubject();
    if (read.error().GetText() == "a share is damaged; its number reads") {
      ASSERT_TRUE(text.find("-" + name + "-") != std::string::npos) << text;
    } else {
      ASSERT_EQ(name, std::to_string(kPosition)) << text;
    }
  }

  static constexpr unsigned kPosition = 77;
  int damaged_ = 0;
};

TEST_F(DamagedShare, InAnyOneCharacter_IsNamed) {
  const SecretBytes secret = RandomKey();
  const auto shares = SplitSecret(secret, {kSet, 3, 12});
  // Every printable character in every place.
  for (const std::size_t which : {0U, 10U}) {
    const std::string text = StringOf(TextOf(shares[which]));
    for (std::size_t at = 0; at < text.size(); ++at) {
      for (char c = ' '; c <= '~'; ++c) {
        std::string changed = text;
        if (changed[at] == c) continue;
        changed[at] = c;
        ExpectNamed(changed);
      }
    }
  }
  EXPECT_GE(damaged_, 10000);
}

TEST_F(DamagedShare, ByACharacterTooManyOrTooFewOrInTheWrongPlace_IsNamed) {
  const auto shares = SplitSecret(RandomKey(), {kSet, 3, 12});
  const std::string text = StringOf(TextOf(shares[11]));
  for (std::size_t at = 0; at <= text.size(); ++at) {
    for (const char c : {'a', '2', '-', ' '}) {
      std::string longer = text;
      longer.insert(at, 1, c);
      ExpectNamed(longer);
    }
    if (at == text.size()) continue;
    std::string shorter = text;
    shorter.erase(at, 1);
    ExpectNamed(shorter);
    if (at + 1 == text.size() || text[at] == text[at + 1]) continue;
    std::string swapped = text;
    std::swap(swapped[at], swapped[at + 1]);
    ExpectNamed(swapped);
  }
}

TEST_F(DamagedShare, InItsPayload_IsNamedByItsNumber) {
  std::string text = StringOf(TextOf(SplitSecret(RandomKey(), {kSet, 2, 3})[1]));
  text[30] = text[30] == 'a' ? 'b' : 'a';
  const auto read = ParseShare(text, 1);
  ASSERT_FALSE(read.has_value());
  EXPECT_EQ(read.error().Message(), "a share is damaged; its number reads: 2");
}

TEST_F(DamagedShare, CutOrGarbled_IsNamedByItsPlace) {
  const std::string text = StringOf(TextOf(SplitSecret(RandomKey(), {kSet, 2, 3})[1]));
  for (const std::string& changed :
       {std::string("ov1-"), std::string("ov1------"), text.substr(0, 20), "ov1-" + text,
        text + text, text + "-", std::string(84, '-')}) {
    ExpectNamed(changed);
  }
}

TEST_F(DamagedShare, WithTheRightCheckButAnIndexOutOfItsSet_IsRefused) {
  for (const auto& [threshold, total, index] :
       {std::tuple(2, 3, 4), {2, 3, 0}, {1, 3, 1}, {4, 3, 1}, {2, 17, 1}}) {
    const Share share{{kSet, static_cast<std::uint8_t>(threshold),
                       static_cast<std::uint8_t>(total)},
                      static_cast<std::uint8_t>(index),
                      RandomKey()};
    EXPECT_FALSE(ParseShare(StringOf(TextOf(share)), 1).has_value());
  }
}

}  // namespace
}  // namespace oauthvault::crypto
