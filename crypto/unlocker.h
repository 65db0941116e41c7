#pragma once

#include <cstddef>
#include <filesystem>
#include <memory>
#include <string_view>
#include <utility>
#include <vector>

#include "crypto/error.h"
#include "crypto/keyring.h"
#include "crypto/sealed.h"
#include "crypto/secret.h"
#include "crypto/shares.h"
#include "crypto/slots.h"

namespace oauthvault::crypto {

/// Opens a vault piece by piece, with whatever people bring: one key file's line, one passphrase,
/// or shares, one at a time. It holds at most 16 shares, in locked memory; they are wiped with it.
/// The file is read again for each piece. Threads: one at a time.
class Unlocker {
 public:
  /// How far it is.
  struct Progress {
    bool open = false;           ///< `Take` gives the keyring
    unsigned shares_given = 0;   ///< of the set of the last share
    unsigned shares_needed = 0;  ///< k of that set; 0 before the first share
    /// Shares that were given and are wrong though their checks are right; known when it is open.
    std::vector<ShareName> wrong_shares;
  };

  /// Errors: Invalid and Corrupt when the file cannot be read or is impossible.
  static Result<Unlocker> Read(const std::filesystem::path& keys_file);

  /// Takes one line, with or without its end: a key file's line, a share, or else a passphrase,
  /// which is tried on all passphrase slots (0.6 s for each by default). When it is open, nothing
  /// more is looked at. What fails takes nothing away from what was given before.
  /// Errors: Invalid when a share (the subject says which) or a key file's line is damaged, or the
  /// text is too short or too long for all; Denied when a key or passphrase opens no slot, a share
  /// is of another set than the vault's, or k shares do not fit together (the new one is kept: at
  /// least one of them is wrong, and a further share tells which); Conflict when the share was
  /// given already; Exhausted beyond 16 shares, or when there is no memory for keys; Unavailable
  /// when there is no memory to stretch a passphrase; Invalid and Corrupt as Read.
  Result<Progress> Give(const SecretBytes& text);

  /// The open vault; the shares are wiped. Errors: Sealed when it is not open yet; as
  /// Keyring::Unlock.
  Result<std::unique_ptr<Keyring>> Take();

 private:
  explicit Unlocker(std::filesystem::path path) : path_(std::move(path)) {}
  Result<Progress> GiveKeyLine(std::string_view line);
  Result<Progress> GivePassphrase(const SecretBytes& passphrase);
  Result<Progress> GiveShare(std::string_view line);
  Result<Progress> OpenWith(const Slot& slot, const VaultId& vault, const SlotSecret& secret);

  std::filesystem::path path_;
  std::vector<Share> shares_;
  RootKey root_;       // empty until it is open
  Progress progress_;  // as the last piece left it
};

}  // namespace oauthvault::crypto
