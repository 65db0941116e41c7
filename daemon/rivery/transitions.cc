#include "daemon/rivery/transitions.h"

#include <algorithm>
#include <array>

namespace oauthvault::rivery {
namespace {

using storage::AttemptState;

constexpr std::array<Transition, 13> kTransitions = {{
    {AttemptState::kNew, AttemptState::kStarted},       // Rivery gave a link
    {AttemptState::kNew, AttemptState::kFailed},        // refused, cancelled
    {AttemptState::kStarted, AttemptState::kStored},    // consent; one commit with the credentials
    {AttemptState::kStarted, AttemptState::kFailed},    // expired, refused, cancelled, denied
    {AttemptState::kStored, AttemptState::kCreating},   // before the create leaves
    {AttemptState::kStored, AttemptState::kFailed},     // cancelled, denied, credentials gone
    {AttemptState::kCreating, AttemptState::kCreated},  // Rivery's reply
    {AttemptState::kCreating, AttemptState::kStored},   // the create provably never left
    {AttemptState::kCreating, AttemptState::kFailed},   // refused
    {AttemptState::kCreating, AttemptState::kUnclear},  // no reply, or killed on the way
    {AttemptState::kUnclear, AttemptState::kCreated},   // found, and adopted
    {AttemptState::kUnclear, AttemptState::kStored},    // looked for after the settle time: none
    {AttemptState::kUnclear, AttemptState::kFailed},    // several found
}};

constexpr std::array kReasons = std::to_array<Reason>({
    {"cancelled", false},
    {"expired", true},
    {"timed_out", true},
    {"refused", true},
    {"lost_in_transit", true},
    {"not_permitted", false},
    {"no_account", false},
    {"component_gone", false},
    {"link_unreadable", true},
    {"credentials_refused", true},
    {"credentials_gone", false},
    {"credentials_unreadable", false},
    {"credentials_no_object", false},
    {"several_found", false},
});

}  // namespace

std::span<const Transition> Transitions() { return kTransitions; }

bool MayBe(AttemptState from, AttemptState to) {
  return std::ranges::any_of(
      kTransitions, [&](const Transition& row) { return row.from == from && row.to == to; });
}

std::span<const Reason> Reasons() { return kReasons; }

bool IsResumable(std::string_view reason) {
  const auto row = std::ranges::find(kReasons, reason, &Reason::word);
  return row != kReasons.end() && row->resumable;
}

}  // namespace oauthvault::rivery
