#pragma once

#include <expected>
#include <string>
#include <utility>

#include "crypto/error.h"

namespace oauthvault::client {

/// Why something did not come about. `message` is for people: the daemon's own words where it has
/// spoken, else this library's. It never holds a secret; what it quotes are ids, names and paths.
struct Failure {
  Code code;
  std::string message;
};

/// The value or the failure. Nothing throws.
template <class T>
using Outcome = std::expected<T, Failure>;

/// `return Refuse(Code::kInvalid, "no file given");`
inline std::unexpected<Failure> Refuse(Code code, std::string message) {
  return std::unexpected<Failure>(Failure{code, std::move(message)});
}

/// Passes the failure of another outcome on.
template <class T>
std::unexpected<Failure> Refuse(Outcome<T>&& failed) {
  return std::unexpected<Failure>(std::move(failed.error()));
}

}  // namespace oauthvault::client
