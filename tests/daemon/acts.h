#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "storage/tables/act.h"

namespace oauthvault::fakes {

/// Why a test commits something: by `principal`, or, with `-`, as part of no story.
inline storage::Act ActBy(std::string_view principal) {
  return {.act = "test", .principal = std::string(principal)};
}
inline storage::Act SetupAct() { return ActBy("-"); }
/// The same for a test that goes to the engine itself.
inline std::string SetupActBytes() {
  const std::vector<std::uint8_t> bytes = storage::EncodeAct(SetupAct());
  return {bytes.begin(), bytes.end()};
}

}  // namespace oauthvault::fakes
