#pragma once

#include <cstdint>
#include <initializer_list>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "client/failure.h"
#include "crypto/secret.h"

namespace google::protobuf {
class Message;
}

namespace oauthvault::client {

/// A message as JSON: the contract's field names in their order, every field present, numbers as
/// numbers, an enum's value as the word without its prefix (`started`). Not for messages with
/// `bytes` fields: those are secrets, and are left out.
nlohmann::ordered_json AsJson(const google::protobuf::Message& message);

/// Appends the rows of one page of a list: the elements of the only repeated message field.
void AppendRows(const google::protobuf::Message& page, std::vector<nlohmann::ordered_json>& rows);

/// How results are written.
enum class Style : std::uint8_t {
  /// Aligned tables, `key: value` lines, times in UTC, sizes with their unit; control characters
  /// are replaced.
  kPeople,
  kJson,  ///< one JSON document a line
};

/// Text of one thing, ending in a line's end.
std::string RenderOne(const nlohmann::ordered_json& object, Style style);

/// Text of a list. `columns` are the fields that people see; JSON has all.
std::string RenderList(std::span<const nlohmann::ordered_json> rows,
                       std::initializer_list<std::string_view> columns, Style style);

/// Text of a failure, for standard error: `oauthvault: ..`, or one JSON object with `code` and
/// `message` under `error`.
std::string RenderFailure(const Failure& failure, Style style);

/// `YYYY-MM-DD hh:mm:ssZ`, in UTC; `-` for 0.
std::string RenderTime(std::int64_t seconds);

/// `17 B`, `1.5 KiB`, up to TiB.
std::string RenderSize(std::uint64_t size_bytes);

/// Text that came from elsewhere, safe for a terminal: control characters become `?`.
std::string Printable(std::string_view text);

/// What WriteOut says of a pipe whose reader has gone.
inline constexpr std::string_view kNobodyReads = "nobody reads standard output any more";
/// Writes to standard output and flushes. Errors: kInvalid when it is closed or its disk is full,
/// and kNobodyReads.
Outcome<void> WriteOut(std::string_view text);
Outcome<void> WriteOut(std::span<const std::uint8_t> bytes);
/// Writes a line that holds a secret, piece by piece: no text with the secret in it is made.
Outcome<void> WriteAround(const std::string& before, const crypto::SecretBytes& secret,
                          const std::string& after);

}  // namespace oauthvault::client
