#include "client/masker.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "tests/client/naive_masking.h"

namespace oauthvault::client {
namespace {

using Texts = std::vector<std::string>;

std::span<const std::uint8_t> BytesOf(std::string_view text) {
  return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}

// What is shown of a stream that comes in chunks of this size.
std::string Masked(std::string_view stream, const Texts& texts, std::size_t chunk_size) {
  const HiddenTexts hidden(texts);
  Masker masker(hidden);
  std::string shown;
  for (std::size_t at = 0; at < stream.size(); at += chunk_size) {
    masker.Take(BytesOf(stream.substr(at, chunk_size)), shown);
  }
  masker.End(shown);
  return shown;
}

TEST(Masker, Texts_AreReplacedWhereverChunksBegin) {
  const Texts texts = {"secret", "token-1", "cret-to"};
  const std::string stream = "a secret, secretsecret; secret-token-1 secre token- sec";
  for (std::size_t chunk = 1; chunk <= stream.size(); ++chunk) {
    EXPECT_EQ(Masked(stream, texts, chunk), "a [hidden], [hidden]; [hidden] secre token- sec")
        << chunk;
  }
}

TEST(Masker, Overlaps_LeaveNothingOfEither) {
  EXPECT_EQ(Masked("xabcdefx", {"abcd", "cdef"}, 1), "x[hidden]x");
  EXPECT_EQ(Masked("xabcdefx", {"abcdef", "cd"}, 1), "x[hidden]x");
  EXPECT_EQ(Masked("xabcdx", {"abcdef", "bc"}, 1), "xa[hidden]dx");
  EXPECT_EQ(Masked("aaaaab", {"aaa"}, 1), "[hidden]b");
}

TEST(Masker, Nothing_IsHiddenWithoutTexts) {
  EXPECT_EQ(Masked("all of it\n", {}, 3), "all of it\n");
  EXPECT_EQ(Masked("all of it\n", {""}, 3), "all of it\n");
}

TEST(Masker, Prompt_ShowsBeforeTheStreamEnds) {
  const HiddenTexts hidden(Texts{"secret"});
  Masker masker(hidden);
  std::string shown;
  masker.Take(BytesOf("Continue? [y/N] "), shown);
  EXPECT_EQ(shown, "Continue? [y/N] ");
  // What may become a secret waits, and no more than that.
  masker.Take(BytesOf("sec"), shown);
  EXPECT_EQ(shown, "Continue? [y/N] ");
  masker.Take(BytesOf("ond"), shown);
  EXPECT_EQ(shown, "Continue? [y/N] second");
  masker.Take(BytesOf("secret"), shown);
  EXPECT_EQ(shown, "Continue? [y/N] second[hidden]");
}

TEST(Masker, LongTexts_AreHiddenWholeAndHoldBackNoMoreThanAPiece) {
  std::mt19937 random(7);
  std::string text;
  while (text.size() < 3 * HiddenTexts::kMaxPieceSize + 17) {
    text += static_cast<char>('!' + random() % 90);
  }
  const Texts texts = {text};
  EXPECT_EQ(Masked("<" + text + ">", texts, 1), "<[hidden]>");
  EXPECT_EQ(Masked("<" + text + text + ">", texts, 7), "<[hidden]>");
  const HiddenTexts hidden(texts);
  Masker masker(hidden);
  std::string shown;
  masker.Take(BytesOf(text).first(HiddenTexts::kMaxPieceSize), shown);
  EXPECT_EQ(shown, kMask);
}

TEST(Masker, BinaryOutput_PassesAsItIs) {
  std::string stream;
  for (int i = 0; i < 1024; ++i) stream += static_cast<char>(i);
  EXPECT_EQ(Masked(stream, {std::string("\0\1\2\3", 4) + "x"}, 5), stream);
  EXPECT_EQ(Masked(std::string("a\0\xff\0b", 5), {std::string("\0\xff\0", 3)}, 1), "a[hidden]b");
}

// Few letters and many texts, so that they begin, end and stand within one another.
TEST(Masker, Generated_ShowsWhatANaiveMaskerShows) {
  const unsigned seed = std::random_device()();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  const auto letters = [&](std::size_t size, unsigned of) {
    std::string text;
    for (std::size_t i = 0; i < size; ++i) text += static_cast<char>('a' + random() % of);
    return text;
  };
  for (int round = 0; round < 400; ++round) {
    const unsigned of = 1 + random() % 4;
    Texts texts;
    for (std::size_t i = random() % 8; i > 0; --i) texts.push_back(letters(1 + random() % 9, of));
    if (round % 10 == 0) texts.push_back(letters(200 + random() % 400, 1 + of / 3));
    const std::string stream = letters(random() % 1500, of + random() % 2);
    ASSERT_EQ(Masked(stream, texts, 1 + random() % 40), MaskedNaively(stream, texts))
        << stream << " without " << testing::PrintToString(texts);
  }
}

}  // namespace
}  // namespace oauthvault::client
