#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "crypto/error.h"

namespace oauthvault::storage {

/// Why something is committed: what the audit line about the commit says. It stands, sealed, in the
/// anchor of the very commit, so that a daemon that dies before the line is durable writes it at
/// its next start. Every text is an id, a fixed word or a public name; values never.
struct Act {
  std::string act;        ///< the method or the step: `Registry.AddGrant`, `attempt.store`
  std::string principal;  ///< canonical text; `-` when unknown
  std::string right;      ///< `store`, ..; empty where none was asked for, likewise below
  std::string project;
  std::string component;
  std::string oauth_id;
  std::string object;         ///< another id that the act is about
  std::uint64_t version = 0;  ///< record version; 0 where there is none
  std::string peer;           ///< `unix:` or `ip:port`
  std::string request_id;
  std::string code;  ///< why something ended in failure; empty: it did not
  bool operator==(const Act&) const = default;
};

/// Each text of an act is cut to this many bytes, so that an act is at most kMaxActSize long.
inline constexpr std::size_t kMaxActTextSize = 1024;
inline constexpr std::size_t kMaxActSize = 11 * 1024;

/// The act as a list of fields (FORMAT.md, "Acts").
std::vector<std::uint8_t> EncodeAct(const Act& act);
/// Errors: Corrupt when the bytes are no list of fields.
Result<Act> DecodeAct(std::span<const std::uint8_t> bytes);

}  // namespace oauthvault::storage
