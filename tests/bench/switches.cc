// What crypto/sabotage.h declares, for the benchmark's daemon and its filler: the parts that
// OAUTHVAULT_WITHOUT names are left out. Read once, as asking the environment each time would cost
// more than some of the parts.
#include <array>
#include <cstdint>
#include <cstdlib>
#include <string_view>
#include <utility>

#include "crypto/sabotage.h"

namespace oauthvault::crypto {
namespace {

constexpr std::array<std::pair<std::string_view, Sabotage>, 6> kParts = {{
    {"line", Sabotage::kNoLine},
    {"durability", Sabotage::kReplyBeforeAudit},
    {"opening", Sabotage::kNoOpening},
    {"decision", Sabotage::kNoDecision},
    {"wiping", Sabotage::kNoWipe},
    {"sync", Sabotage::kNoSync},  // of the store's commits: for the filler
}};

std::uint64_t BitOf(Sabotage part) { return std::uint64_t{1} << static_cast<unsigned int>(part); }

// The words stand between commas, and none is part of another. Allocates nothing: `free` asks, too.
std::uint64_t ReadSwitches() {
  const char* const given = std::getenv("OAUTHVAULT_WITHOUT");
  if (given == nullptr) return 0;
  const std::string_view list(given);
  std::uint64_t switches = 0;
  for (const auto& [word, part] : kParts) {
    if (list.find(word) != std::string_view::npos) switches |= BitOf(part);
  }
  return switches;
}

}  // namespace

bool IsSabotaged(Sabotage part) {
  static const std::uint64_t switches = ReadSwitches();
  return (switches & BitOf(part)) != 0;
}

}  // namespace oauthvault::crypto
