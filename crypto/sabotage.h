#pragma once

#include <cstdint>

namespace oauthvault::crypto {

/// Ways to break the vault on purpose. A second binary, `oauthvaultd-sabotaged`, has them as
/// switches (the variable OAUTHVAULT_SABOTAGE: their words, with commas), so that each fault
/// harness shows that it notices what it is there to notice. In every other build they are not
/// there at all: a test looks for their words in the release binary.
enum class Sabotage : std::uint8_t {
  kNoSync,             ///< `no-sync`: commits are not synced
  kNoMetaSync,         ///< `no-meta-sync`: the meta page of a commit is not synced
  kNoAad,              ///< `no-aad`: rows are bound to nothing, and their names are not compared
  kNoWipe,             ///< `no-wipe`: freed memory is not wiped
  kSkipAnchor,         ///< `skip-anchor`: store and trail are not compared at start
  kNoSummary,          ///< `no-summary`: a check does not compare what rows come to
  kReplyBeforeCommit,  ///< `reply-before-commit`: a write is acknowledged before it is durable
  kReplyBeforeAudit,   ///< `reply-before-audit`: a line counts before it is durable
  kSendBeforeAudit,    ///< `send-before-audit`: the same, of what is sent to Rivery only
  kNoMacCheck,         ///< `no-mac-check`: a line of the trail verifies whatever its MAC
  kNoCheckpointCheck,  ///< `no-checkpoint-check`: a verification passes checkpoints over
  kNoReserve,          ///< `no-reserve`: a full disk refuses revocations, too
  kKeepShreddedKey,    ///< `keep-shredded-key`: shredding leaves the wrapped keys in their file
  kNoLimit,            ///< `no-limit`: new rows are taken until the store is full
  kGoOnAfterIoError,   ///< `follow-on-after-io-error`: a failed commit does not end all writing
  kSendBlindly,        ///< `send-again-blindly`: an unclear create is sent again without a look
  kAdoptByName,        ///< `adopt-by-name-alone`: a create's name is enough to take a connection
  kCommitAfterCall,    ///< `commit-after-call`: a create leaves before it is committed that it does
  kNoHandshakeLimit,   ///< `no-handshake-limit`: a TLS handshake may take as long as gRPC lets it
  kStockListener,      ///< `stock-listener`: gRPC listens by itself on TCP
  kNoAddressCap,       ///< `no-address-cap`: one address may take all places
  kNoDeadlineCheck,    ///< `no-deadline-check`: calls without a deadline, and late ones, are begun
  kAnyPeerName,        ///< `any-peer-name`: a caller is any name that its certificate holds
  kNoDenyList,         ///< `no-deny-list`: revoked certificates are let in
  kUncheckedPair,      ///< `unchecked-pair`: a staged server certificate is not checked
  // Parts of a reveal that tests/bench leaves out, to show what each costs.
  kNoLine,      ///< `no-line`: what is allowed leaves no line
  kNoOpening,   ///< `no-opening`: secrets are given as the memory was, and not opened
  kNoDecision,  ///< `no-decision`: every caller may do everything
};

#ifdef OAUTHVAULT_SABOTAGE
/// Whether this fault is switched on. Threads: any.
bool IsSabotaged(Sabotage fault);
#else
/// Never: what depends on it is not compiled in.
constexpr bool IsSabotaged(Sabotage) { return false; }
#endif

}  // namespace oauthvault::crypto
