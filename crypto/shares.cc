#include "crypto/shares.h"

#include <sodium.h>

#include <algorithm>
#include <bit>
#include <charconv>
#include <cstdlib>

#include "crypto/fields.h"
#include "crypto/sealed.h"

namespace oauthvault::crypto {
namespace {

using Bytes = std::span<const std::uint8_t>;

// ENVELOPE.md, "Share".
constexpr std::string_view kPrefix = "ov1";
constexpr std::string_view kCheckKey = "oauthvault/share/check-key";
constexpr std::string_view kCheckLabel = "oauthvault/share/check";
constexpr std::size_t kCheckSize = 5;
constexpr std::size_t kShareFields = 6;

// ---- GF(2^8) modulo x^8 + x^4 + x^3 + x^2 + 1: no table, no branch on a value ------------------

constexpr unsigned kPolynomial = 0x11d;

std::uint8_t Product(std::uint8_t a, std::uint8_t b) {
  unsigned product = 0;
  unsigned shifted = a;
  for (unsigned bit = 0; bit < 8; ++bit) {
    product ^= shifted & (0U - ((unsigned{b} >> bit) & 1U));
    shifted = (shifted << 1) ^ (kPolynomial & (0U - (shifted >> 7)));
  }
  return static_cast<std::uint8_t>(product);
}

// a^254, as a^255 = 1.
std::uint8_t Inverse(std::uint8_t a) {
  std::uint8_t power = a;
  for (int i = 0; i < 6; ++i) power = Product(Product(power, power), a);
  return Product(power, power);
}

// The value at `x` of the polynomials that go through `points`, in Lagrange's form.
SecretBytes Interpolate(std::span<const Share* const> points, std::uint8_t x) {
  SecretBytes value(kKeySize);
  for (const Share* point : points) {
    std::uint8_t weight = 1;
    for (const Share* other : points) {
      if (other == point) continue;
      // Subtraction is addition here.
      const auto above = static_cast<std::uint8_t>(x ^ other->index);
      const auto below = static_cast<std::uint8_t>(point->index ^ other->index);
      weight = Product(weight, Product(above, Inverse(below)));
    }
    value.Fill([&](std::span<std::uint8_t> sum) {
      point->payload.Expose([&](Bytes payload) {
        for (std::size_t i = 0; i < sum.size(); ++i) sum[i] ^= Product(payload[i], weight);
      });
    });
  }
  return value;
}

// ---- base32 (RFC 4648 section 6, lower case, not padded), no branch on a character --------------

constexpr std::size_t TextSize(std::size_t bytes) { return (bytes * 8 + 4) / 5; }

constexpr std::size_t kPayloadText = TextSize(kKeySize);
constexpr std::size_t kSetText = TextSize(std::tuple_size_v<ShareSetId>);
constexpr std::size_t kCheckText = TextSize(kCheckSize);

void EncodeBase32(Bytes bytes, std::span<std::uint8_t> text) {
  for (std::size_t i = 0; i < text.size(); ++i) {
    // Five bits from the begin of the text; behind the end are zeros.
    const std::size_t at = i * 5 / 8;
    const unsigned low = at + 1 < bytes.size() ? bytes[at + 1] : 0U;
    const unsigned window = (unsigned{bytes[at]} << 8) | low;
    const unsigned value = (window >> (11 - i * 5 % 8)) & 31U;
    const unsigned digit = (25U - value) >> 31;  // 1 from 26 on
    text[i] = static_cast<std::uint8_t>('a' + value - digit * ('a' + 26 - '2'));
  }
}

// False when a character is none of the alphabet or the bits behind the bytes are not zero.
bool DecodeBase32(std::string_view text, std::span<std::uint8_t> bytes) {
  if (text.size() != TextSize(bytes.size())) return false;
  unsigned bad = 0;
  unsigned bits = 0;
  unsigned count = 0;
  std::size_t at = 0;
  for (const char character : text) {
    const unsigned letter = static_cast<unsigned char>(character) - unsigned{'a'};
    const unsigned digit = static_cast<unsigned char>(character) - unsigned{'2'};
    const unsigned is_letter = ((letter - 26U) >> 31) & ~(letter >> 31) & 1U;
    const unsigned is_digit = ((digit - 6U) >> 31) & ~(digit >> 31) & 1U;
    bad |= 1U ^ (is_letter | is_digit);
    bits = ((bits << 5) | (is_letter * letter + is_digit * (digit + 26U))) & 0xfffU;
    count += 5;
    if (count < 8) continue;
    count -= 8;
    bytes[at++] = static_cast<std::uint8_t>(bits >> count);
  }
  bad |= bits & ((1U << count) - 1U);
  return bad == 0;
}

// ---- text ---------------------------------------------------------------------------------------

std::vector<std::uint8_t> CheckOf(const Share& share) {
  const std::array numbers{share.parameters.threshold, share.parameters.total, share.index};
  return share.payload.Expose([&](Bytes payload) {
    return KeyedHash(SecretBytes::CopyOf(kCheckKey),
                     std::array{kCheckLabel, AsField(share.parameters.set), AsField(numbers),
                                AsField(payload)},
                     kCheckSize);
  });
}

std::string SetText(const ShareSetId& set) {
  std::array<std::uint8_t, kSetText> text{};
  EncodeBase32(set, text);
  return std::string(AsField(text));
}

// The one spelling of a number from 1 to 16; 0 for anything else.
std::uint8_t NumberIn(std::string_view text) {
  unsigned number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  const bool exact = error == std::errc() && end == text.data() + text.size() && text[0] != '0';
  return exact && number <= kMostShares ? static_cast<std::uint8_t>(number) : std::uint8_t{0};
}

std::vector<std::string_view> Split(std::string_view text) {
  std::vector<std::string_view> fields;
  while (true) {
    const std::size_t dash = text.find('-');
    fields.push_back(text.substr(0, dash));
    if (dash == std::string_view::npos) return fields;
    text.remove_prefix(dash + 1);
  }
}

// All fields but the check. False when they are not spelled as `TextOf` spells them.
bool ReadFields(std::span<const std::string_view> fields, Share& share) {
  const std::string_view counts = fields[2];
  const std::size_t of = counts.find("of");
  if (fields[0] != kPrefix || of == std::string_view::npos) return false;
  share.parameters.threshold = NumberIn(counts.substr(0, of));
  share.parameters.total = NumberIn(counts.substr(of + 2));
  share.index = NumberIn(fields[3]);
  return AreShareParameters(share.parameters) && share.index >= 1 &&
         share.index <= share.parameters.total &&
         DecodeBase32(fields[1], share.parameters.set) &&
         share.payload.Fill(
             [&](std::span<std::uint8_t> payload) { return DecodeBase32(fields[4], payload); });
}

}  // namespace

ShareName::ShareName(const ShareSetId& set, std::uint8_t index)
    : index_(index), text_(std::to_string(index) + " of set " + SetText(set)) {}

bool AreShareParameters(const ShareParameters& parameters) {
  return parameters.threshold >= kLeastThreshold && parameters.threshold <= parameters.total &&
         parameters.total <= kMostShares;
}

std::vector<Share> SplitSecret(const SecretBytes& secret, const ShareParameters& parameters) {
  if (secret.Size() != kKeySize || !AreShareParameters(parameters)) std::abort();
  // The coefficients of x and up, 32 polynomials side by side.
  std::vector<SecretBytes> coefficients;
  while (coefficients.size() + 1 < parameters.threshold) coefficients.push_back(RandomKey());
  std::vector<Share> shares;
  for (std::uint8_t index = 1; index <= parameters.total; ++index) {
    Share share{parameters, index, SecretBytes(kKeySize)};
    share.payload.Fill([&](std::span<std::uint8_t> value) {
      const auto step = [&](Bytes coefficient) {
        for (std::size_t i = 0; i < value.size(); ++i) {
          value[i] = static_cast<std::uint8_t>(Product(value[i], index) ^ coefficient[i]);
        }
      };
      for (const SecretBytes& coefficient : coefficients) coefficient.Expose(step);
      secret.Expose(step);
    });
    shares.push_back(std::move(share));
  }
  return shares;
}

std::optional<JoinedShares> JoinShares(
    std::span<const Share> shares, const std::function<bool(const SecretBytes&)>& is_secret) {
  if (shares.empty() || shares.size() > kMostShares) return std::nullopt;
  const int threshold = shares.front().parameters.threshold;
  for (unsigned chosen = 0; chosen < 1U << shares.size(); ++chosen) {
    if (std::popcount(chosen) != threshold) continue;
    std::vector<const Share*> points;
    unsigned indexes = 0;
    for (std::size_t i = 0; i < shares.size(); ++i) {
      if (((chosen >> i) & 1U) == 0) continue;
      points.push_back(&shares[i]);
      indexes |= 1U << shares[i].index;
    }
    // Two shares of one number: one of them is wrong, and no polynomial goes through both.
    if (std::popcount(indexes) != threshold) continue;
    SecretBytes secret = Interpolate(points, 0);
    if (!is_secret(secret)) continue;
    JoinedShares joined{std::move(secret), {}};
    for (const Share& share : shares) {
      if (!Interpolate(points, share.index).Equals(share.payload)) {
        joined.wrong.push_back(share.Name());
      }
    }
    return joined;
  }
  return std::nullopt;
}

SecretBytes TextOf(const Share& share) {
  const std::string front = std::string(kPrefix) + "-" + SetText(share.parameters.set) + "-" +
                            std::to_string(share.parameters.threshold) + "of" +
                            std::to_string(share.parameters.total) + "-" +
                            std::to_string(share.index) + "-";
  SecretBytes text(front.size() + kPayloadText + 1 + kCheckText);
  text.Fill([&](std::span<std::uint8_t> out) {
    std::ranges::copy(front, out.begin());
    share.payload.Expose(
        [&](Bytes payload) { EncodeBase32(payload, out.subspan(front.size(), kPayloadText)); });
    out[front.size() + kPayloadText] = '-';
    EncodeBase32(CheckOf(share), out.last(kCheckText));
  });
  return text;
}

bool LooksLikeShare(std::string_view text) {
  // A share has five dashes and 81 characters at least.
  return text.starts_with("ov1-") ||
         (text.size() >= 80 && text.size() <= kMostShareText + 1 &&
          std::ranges::count(text, '-') >= 4);
}

Result<Share> ParseShare(std::string_view text, unsigned position) {
  Result<SecretBytes> payload = SecretBytes::Key();
  if (!payload) return Fail(std::move(payload));
  Share share{{}, 0, std::move(*payload)};
  const std::vector<std::string_view> fields = Split(text);
  if (fields.size() == kShareFields && ReadFields(fields, share)) {
    std::array<std::uint8_t, kCheckSize> check{};
    if (DecodeBase32(fields.back(), check) &&
        sodium_memcmp(check.data(), CheckOf(share).data(), kCheckSize) == 0) {
      return share;
    }
  }
  const std::uint8_t number = fields.size() == kShareFields ? NumberIn(fields[3]) : std::uint8_t{0};
  if (number != 0) {
    return Fail(Code::kInvalid, "a share is damaged; its number reads", Subject::Number(number));
  }
  return Fail(Code::kInvalid, "a share is damaged, its number too; of the texts given it is number",
              Subject::Number(position));
}

}  // namespace oauthvault::crypto
