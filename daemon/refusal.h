#pragma once

#include <expected>
#include <utility>

#include "crypto/error.h"

namespace oauthvault {

/// Serving ends with these where no restart mends it; the unit's RestartPreventExitStatus names
/// them. Something of the vault is damaged: EX_DATAERR of sysexits.h.
inline constexpr int kExitDamaged = 65;
/// Store and trail do not belong together: EX_CONFIG.
inline constexpr int kExitPutBack = 78;

/// Why a command is not done, and what its operator can do about it.
struct Refusal {
  Error error;
  const char* advice;
  /// What the program ends with.
  int exit_code = ExitCodeOf(error.GetCode());
};

/// Passes the error of a result on, with advice.
template <class T>
std::unexpected<Refusal> Refuse(Result<T>&& failed, const char* advice) {
  return std::unexpected(Refusal{std::move(failed.error()), advice});
}

/// Advice that more than one file gives.
inline constexpr char kAboutKeyFile[] =
    "key_file opens the vault: a file of mode 0600 that belongs to the daemon's user. Put it back "
    "from its copy, or name it with --key-file. A new vault is made by `oauthvaultd init`";
inline constexpr char kAboutKeys[] =
    "`keys` in the folder `state` is made by `oauthvaultd init` and opens with the secret of any "
    "of its slots. Check both paths, or put the file back from a backup";
inline constexpr char kAboutStore[] =
    "the store lies in `state`/store. Check that path and that no other daemon uses it; a store "
    "that is damaged or another vault's comes back from a backup, together with `keys`";
inline constexpr char kAboutProgram[] =
    "this program or the machine is at fault: reinstall, then report it";
inline constexpr char kAboutInUse[] =
    "end the daemon that serves this vault, and see that no other daemon uses it; two vaults need "
    "folders of their own (--state, --audit)";
inline constexpr char kAboutCheck[] =
    "`oauthvaultd fsck` shows all of it. Restore a backup, or start with --fsck behind to serve "
    "the rows that are whole";
inline constexpr char kAboutAnchor[] =
    "one of the two is not the newest. Find out who put it back. To go on with the store as it "
    "stands, run `oauthvaultd restore --present`; it writes that into the trail";
inline constexpr char kAboutTrail[] =
    "the trail is audit.jsonl in the folder `audit`. `oauthvaultd verify-audit` shows what does "
    "not verify. Keep the file as evidence, and find out who changed it before it is put back";
inline constexpr char kAboutTrustDomain[] =
    "trust_domain must be the one that `oauthvaultd init` was given: it cannot be changed later";
inline constexpr char kAboutRestore[] =
    "a restore was cut off; the vault is not served before it is whole. Run the same `oauthvaultd "
    "restore` again";

}  // namespace oauthvault
