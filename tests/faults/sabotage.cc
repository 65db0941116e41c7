// What crypto/sabotage.h declares, in the one binary that has it.
#include "crypto/sabotage.h"

#include <array>
#include <cstdlib>
#include <string_view>

namespace oauthvault::crypto {
namespace {

constexpr std::array<std::string_view, 28> kWords = {
    "no-sync",       "no-meta-sync", "no-aad",
    "no-wipe",       "skip-anchor",  "no-summary",
    "reply-before-commit", "reply-before-audit",  "send-before-audit",
    "no-mac-check",        "no-checkpoint-check", "no-reserve",
    "keep-shredded-key",   "no-limit",           "follow-on-after-io-error",
    "send-again-blindly",  "adopt-by-name-alone", "commit-after-call",
    "no-handshake-limit",  "stock-listener",     "no-address-cap",
    "no-deadline-check",
    "any-peer-name",     "no-deny-list", "unchecked-pair",
    "no-line",           "no-opening",   "no-decision",
};

bool Names(std::string_view list, std::string_view word) {
  while (!list.empty()) {
    const std::size_t comma = list.find(',');
    if (list.substr(0, comma) == word) return true;
    if (comma == std::string_view::npos) return false;
    list.remove_prefix(comma + 1);
  }
  return false;
}

}  // namespace

bool IsSabotaged(Sabotage fault) {
  // Read anew each time: a child has the variables of its parent only where they were handed on.
  const char* list = std::getenv("OAUTHVAULT_SABOTAGE");
  return list != nullptr && Names(list, kWords[static_cast<std::size_t>(fault)]);
}

}  // namespace oauthvault::crypto
