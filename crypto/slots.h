#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

#include "crypto/error.h"
#include "crypto/sealed.h"
#include "crypto/secret.h"

namespace oauthvault::crypto {

/// How the secret half of a slot is brought. The numbers stand in the `keys` file.
enum class SlotKind : std::uint8_t {
  kKeyFile = 1,     ///< a file, or a systemd credential
  kPassphrase = 2,  ///< Argon2id; reserved, not written yet
  kShares = 3,      ///< k of n; reserved, not written yet
};

using SlotPublicKey = std::array<std::uint8_t, 32>;

/// The secret half of a slot: an X25519 secret key.
using SlotSecret = Secret<struct SlotSecretTag>;

/// One way to open the vault: a public key, and the root sealed to it. Any one slot suffices; a new
/// root can be sealed to all of them without their secrets.
struct Slot {
  std::uint32_t id = 0;  ///< unique in the file, never used again
  SlotKind kind = SlotKind::kKeyFile;
  std::string label;  ///< for people, at most 64 bytes of printable ASCII
  SlotPublicKey public_key{};
  SlotPublicKey ephemeral_key{};  ///< the sealer's public half, new for every sealing
  WrappedKey root{};
};

/// A fresh secret for a key file.
SlotSecret NewSlotSecret();

/// The public half of a slot's secret of 32 bytes; another size ends the process.
SlotPublicKey PublicKeyOf(const SlotSecret& secret);

/// Seals `root` to the slot's public key (fills `ephemeral_key` and `root` of `slot`), bound to the
/// vault and the slot's id and kind.
void SealRootTo(Slot& slot, const VaultId& vault, const RootKey& root);

/// Errors: Denied when `secret` is not this slot's, Corrupt when the slot does not verify.
Result<RootKey> OpenRootWith(const Slot& slot, const VaultId& vault, const SlotSecret& secret);

/// Reads a key file: one line `oauthvault-key-1:` and 44 characters of base64 (32 bytes). The file
/// must be a regular file of at most 256 bytes, not readable by group or others.
/// Errors: Invalid (missing, wrong form, wrong mode), the path as subject.
Result<SlotSecret> ReadKeyFile(const std::filesystem::path& path);

/// Writes a key file, mode 0600, durable. Errors: Conflict when the path exists, Unavailable.
Result<void> WriteKeyFile(const std::filesystem::path& path, const SlotSecret& secret);

}  // namespace oauthvault::crypto
