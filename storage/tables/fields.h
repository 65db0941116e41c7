#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "crypto/error.h"
#include "crypto/secret.h"

namespace oauthvault::storage {

/// Writes numbered fields: number u8 | size u32 LE | bytes, in rising order of number; a list
/// repeats its number. FORMAT.md, "Fields". The reader passes over numbers that nobody asks for, so
/// that a later version may add some. Threads: one.
class FieldWriter {
 public:
  /// Empty text, zero numbers and false are not written. Numbers never fall from call to call.
  void Put(std::uint8_t number, std::string_view text);
  /// A literal would become a bool.
  void Put(std::uint8_t number, const char* text) = delete;
  /// 8 bytes, LE.
  void Put(std::uint8_t number, std::uint64_t value);
  /// The same, in two's complement.
  void Put(std::uint8_t number, std::int64_t value) {
    Put(number, static_cast<std::uint64_t>(value));
  }
  void Put(std::uint8_t number, bool value) { Put(number, std::uint64_t{value}); }
  /// Each text, the empty ones too.
  void Put(std::uint8_t number, std::span<const std::string> texts);

  /// All of it, for sealing; what the writer held is wiped.
  crypto::SecretBytes Take() &&;
  /// The same of what is not secret.
  std::vector<std::uint8_t> TakeBytes() && { return std::move(bytes_); }

 private:
  std::vector<std::uint8_t> bytes_;
};

/// Reads what FieldWriter wrote, and keeps it. An absent field is empty, 0 or false, and so is a
/// number that has not 8 bytes. Threads: any, after Parse.
class FieldReader {
 public:
  /// Errors: Corrupt when the bytes are no list of fields in rising order.
  static Result<FieldReader> Parse(crypto::SecretBytes bytes);
  /// The same of a copy.
  static Result<FieldReader> Parse(std::span<const std::uint8_t> bytes) {
    return Parse(crypto::SecretBytes::CopyOf(bytes));
  }

  /// One field each, by its number; Texts: all of that number, in order.
  std::string Text(std::uint8_t number) const;
  std::uint64_t Number(std::uint8_t number) const;
  std::int64_t Signed(std::uint8_t number) const {
    return static_cast<std::int64_t>(Number(number));
  }
  bool Flag(std::uint8_t number) const { return Number(number) != 0; }
  std::vector<std::string> Texts(std::uint8_t number) const;

 private:
  explicit FieldReader(crypto::SecretBytes bytes) : bytes_(std::move(bytes)) {}

  crypto::SecretBytes bytes_;  // a row has few fields, so each is looked for from the first on
};

}  // namespace oauthvault::storage
