#pragma once

#include <cstdint>
#include <string>

#include "client/failure.h"
#include "client/session.h"

namespace oauthvault::client {

/// `connect --authorize --batch FILE --links FILE`.
struct BatchOptions {
  std::string file;            ///< the batch; `-` for standard input
  std::string links;           ///< where the consent links go, mode 0600
  std::int64_t validity_s = 0;  ///< of each link
  bool no_wait = false;        ///< end when every row has its link
};

/// Asks for the consent of many people at once. Every row is checked before the first call. A row
/// that has a connection, or an attempt that did not fail, gets no second one, so running the same
/// batch again goes on where it ended. Where the daemon goes on with another attempt for one that
/// failed, so does the row, with the new link. The links are secrets: they go to the file alone,
/// which is written anew, whole, whenever there are others. Who has consented is shown on standard
/// error (a table that is rewritten on a terminal, else a line for each change); all rows are
/// printed at the end. Ctrl-C leaves everything to the daemon.
/// Errors: kInvalid: the batch, the place of the links, or rows that failed; as `Vault::Call` when
/// the daemon cannot be reached.
Outcome<void> ConnectBatch(Session& run, const BatchOptions& options);

}  // namespace oauthvault::client
