#pragma once

#include <cstdint>
#include <expected>
#include <string>
#include <string_view>
#include <utility>

namespace oauthvault {

/// What a caller can act on. The list is closed: an eleventh code needs a caller that acts on it.
enum class Code : std::uint8_t {
  kNotFound,         ///< the named thing does not exist
  kUnauthenticated,  ///< who calls is not known
  kDenied,           ///< known, but not allowed
  kInvalid,          ///< the request itself is wrong; sending it again will not help
  kConflict,         ///< exists already, or another write came first
  kStale,            ///< older than what is in force, or an endpoint that was not approved
  kCorrupt,          ///< stored data does not verify; this one row only
  kSealed,           ///< the vault is sealed: no keys in memory
  kUnavailable,      ///< try again later; nothing was done, or nothing is known to have been done
  kExhausted,        ///< a bound was reached: space, queue, rate
};

/// The code's name in the words of the interface ("NOT_FOUND", ..): stable, for machines.
std::string_view NameOf(Code code);

/// What a program ends with. 1: whoever called it can mend it; 2: the machine or the vault is at
/// fault.
int ExitCodeOf(Code code);

/// The fixed text of an error. Only a literal can make one, so that no error can carry a secret.
class Text {
 public:
  /// `literal`: an English phrase without a full stop, unique in the tree.
  consteval Text(const char* literal) : literal_(literal) {}  // NOLINT(google-explicit-constructor)
  constexpr std::string_view View() const { return literal_; }

 private:
  const char* literal_;
};

/// A type whose text is public by construction, such as an id that was parsed.
template <class T>
concept PublicName = requires(const T& name) {
  { T::kPublicName } -> std::convertible_to<bool>;
  { name.Str() } -> std::convertible_to<std::string_view>;
};

/// What an error is about: one value of a type that is never secret.
class Subject {
 public:
  Subject() = default;
  /// A parsed id (`ProjectId`, `OauthId`, ..).
  template <PublicName T>
  Subject(const T& name) : text_(name.Str()) {}  // NOLINT(google-explicit-constructor)
  /// A number: a line, a limit, a status.
  static Subject Number(std::int64_t number) { return Subject(std::to_string(number)); }
  /// A key of our own schema, or another literal.
  static Subject Key(Text key) { return Subject(std::string(key.View())); }
  /// A path that an operator named.
  static Subject Path(std::string path) { return Subject(std::move(path)); }

  const std::string& Str() const { return text_; }

 private:
  explicit Subject(std::string text) : text_(std::move(text)) {}
  std::string text_;
};

/// An error as a value: a code, a literal text, at most one subject.
class Error {
 public:
  Error(Code code, Text text, Subject subject = {})
      : code_(code), text_(text), subject_(std::move(subject)) {}

  Code GetCode() const { return code_; }
  std::string_view GetText() const { return text_.View(); }
  const std::string& GetSubject() const { return subject_.Str(); }

  /// For people: the text, and the subject behind a colon if there is one.
  std::string Message() const;

 private:
  Code code_;
  Text text_;
  Subject subject_;
};

/// The value or the error. Errors are values; nothing throws across a room.
template <class T>
using Result = std::expected<T, Error>;

/// `return Fail(Code::kNotFound, "no such project", id);`
inline std::unexpected<Error> Fail(Code code, Text text, Subject subject = {}) {
  return std::unexpected<Error>(Error(code, text, std::move(subject)));
}

/// Passes the error of another result on.
template <class T>
std::unexpected<Error> Fail(Result<T>&& failed) {
  return std::unexpected<Error>(std::move(failed.error()));
}

}  // namespace oauthvault
