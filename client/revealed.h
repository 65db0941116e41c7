#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "client/failure.h"
#include "crypto/secret.h"

namespace google::protobuf::io {
class ZeroCopyInputStream;
}

namespace oauthvault::client {

/// Credentials in clear: the eight keys, and the version.
struct Revealed {
  std::string id;
  std::string authorized_for;
  std::string creator_id;
  std::string creator_description;
  /// UTC, `YYYY-MM-DD hh:mm:ss`.
  std::string created;
  /// `#data`, byte for byte.
  crypto::CredentialsData data;
  std::string oauth_version;
  std::string app_key;
  /// `#appSecret`; empty where the authorization is another OAuth client's.
  crypto::AppSecret app_secret;
  std::uint64_t version = 0;
};

/// Reads a `RevealResponse` off the wire without making the message: any field order, unknown
/// fields and any split of the input are fine; of a repeated field the last one counts (Protocol
/// Buffers, "Encoding", "Last One Wins"). Errors: kCorrupt.
Outcome<Revealed> ReadRevealed(google::protobuf::io::ZeroCopyInputStream& bytes);

/// What one id of several came to.
struct RevealedItem {
  std::string id;
  /// `NOT_FOUND` or `CORRUPT`; empty where the credentials are there.
  std::string code;
  Revealed revealed;
};

/// An answer has at most so many.
inline constexpr std::size_t kMaxRevealedItems = 64;

/// Reads a `RevealManyResponse` likewise. Errors: kCorrupt, also for an item that has both
/// credentials and a code, or neither.
Outcome<std::vector<RevealedItem>> ReadRevealedItems(
    google::protobuf::io::ZeroCopyInputStream& bytes);

/// The same for the configuration of an `InjectResponse`.
Outcome<crypto::SecretBytes> ReadInjected(google::protobuf::io::ZeroCopyInputStream& bytes);

/// A way to open the vault, and its secret where the daemon made that.
struct NewSlot {
  std::uint32_t id = 0;
  /// `key_file`, `passphrase` or `shares`.
  std::string kind;
  std::string label;
  /// Of shares: how many open, of how many.
  std::uint32_t threshold = 0;
  std::uint32_t total = 0;
  /// What people keep: the key file's line, or the shares in their order; none for a passphrase.
  /// Each has 1 to 4,096 characters of printable ASCII, without quotes and backslashes: it stands
  /// in JSON as it is.
  std::vector<crypto::SecretBytes> texts;
};

/// Reads an `AddSlotResponse` off the wire like `ReadRevealed`. Errors: kCorrupt, also for a text
/// of another form or more than 16 of them.
Outcome<NewSlot> ReadNewSlot(google::protobuf::io::ZeroCopyInputStream& bytes);

/// An opaque token, and its text.
struct NewToken {
  std::string id;
  std::string title;
  /// Both empty: a manage token.
  std::string project;
  std::string component;
  std::vector<std::string> rights;
  std::int64_t expires_at_s = 0;
  /// `ovt_` and 64 digits of hex: it stands in JSON as it is.
  crypto::SecretBytes text;
};

/// Reads an `IssueTokenResponse` off the wire like `ReadRevealed`. Errors: kCorrupt, also for a
/// text of another form.
Outcome<NewToken> ReadNewToken(google::protobuf::io::ZeroCopyInputStream& bytes);

/// The eight keys as JSON, in their order, two spaces of indent and a line's end: what
/// `credentials reveal` prints. The data must be valid UTF-8, as the vault keeps it.
crypto::SecretBytes RevealedAsJson(const Revealed& revealed);

/// One such object a line, in the order of the items; for those that have a code, `id` and `code`.
crypto::SecretBytes ItemsAsJsonLines(std::span<const RevealedItem> items);

}  // namespace oauthvault::client
