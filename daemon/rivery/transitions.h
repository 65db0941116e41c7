#pragma once

#include <span>
#include <string_view>

#include "storage/tables/rows.h"

namespace oauthvault::rivery {

/// A change of state that may be. The whole table; everything else ends the process.
struct Transition {
  storage::AttemptState from;
  storage::AttemptState to;
};
std::span<const Transition> Transitions();
/// Whether the table has this row.
bool MayBe(storage::AttemptState from, storage::AttemptState to);

/// Why an attempt failed.
struct Reason {
  std::string_view word;  ///< as the contract lists it
  bool resumable;         ///< nothing was stored, and a new link may go on for it
};
std::span<const Reason> Reasons();
/// Whether a new link may go on for what failed so.
bool IsResumable(std::string_view reason);

}  // namespace oauthvault::rivery
