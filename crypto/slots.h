#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "crypto/error.h"
#include "crypto/sealed.h"
#include "crypto/secret.h"
#include "crypto/shares.h"

namespace oauthvault::crypto {

/// How the secret half of a slot is brought. The numbers stand in the `keys` file.
enum class SlotKind : std::uint8_t {
  kKeyFile = 1,     ///< a file, or a systemd credential
  kPassphrase = 2,  ///< a passphrase that a person knows, stretched by Argon2id
  kShares = 3,      ///< k of n shares, split from the secret
};

using SlotPublicKey = std::array<std::uint8_t, 32>;

/// The secret half of a slot: an X25519 secret key.
using SlotSecret = Secret<struct SlotSecretTag>;

/// What stretching a passphrase costs, by Argon2id 1.3 with one lane. The default takes 0.6 s.
struct PassphraseCost {
  std::uint32_t passes = 3;
  std::uint32_t memory_kib = 256 * 1024;
  bool operator==(const PassphraseCost&) const = default;
};

// The bounds of a cost, both inclusive: checked before anything is stretched, so that a tampered
// file can neither weaken a slot nor eat the machine.
inline constexpr PassphraseCost kLeastPassphraseCost{1, 8 * 1024};
inline constexpr PassphraseCost kMostPassphraseCost{10, 2 * 1024 * 1024};

// The bounds of a passphrase in bytes.
inline constexpr std::size_t kLeastPassphrase = 8;
inline constexpr std::size_t kMostPassphrase = 1024;

/// How a slot's passphrase is stretched.
struct PassphraseParameters {
  std::array<std::uint8_t, 16> salt{};
  PassphraseCost cost;
  bool operator==(const PassphraseParameters&) const = default;
};

/// One way to open the vault: a public key, and the root sealed to it. Any one slot suffices; a new
/// root can be sealed to all of them without their secrets.
struct Slot {
  std::uint32_t id = 0;  ///< unique in the file, never used again
  SlotKind kind = SlotKind::kKeyFile;
  std::string label;  ///< for people, 1 to 64 bytes of printable ASCII
  PassphraseParameters passphrase;  ///< of a passphrase slot only
  ShareParameters shares;           ///< of a slot of shares only
  SlotPublicKey public_key{};
  SlotPublicKey ephemeral_key{};  ///< the sealer's public half, new for every sealing
  WrappedKey root{};
};

/// A slot that is wanted.
struct NewSlot {
  SlotKind kind = SlotKind::kKeyFile;
  std::string label;        ///< 1 to 64 bytes of printable ASCII
  SecretBytes passphrase;   ///< of a passphrase slot only: one line of 8 to 1024 bytes
  PassphraseCost cost;      ///< of a passphrase slot only
  std::uint8_t threshold = 0;  ///< of a slot of shares only: k, 2 to n
  std::uint8_t total = 0;      ///< of a slot of shares only: n, at most 16
};

/// A slot that was made, with the texts that people keep, each one line without its end: a key
/// file's line, or the n shares; none for a passphrase. They exist nowhere else.
struct AddedSlot {
  Slot slot;
  std::vector<SecretBytes> texts;
};

/// Makes the slot but for its id and the sealed root. Stretches the passphrase. Errors: Invalid
/// when the label, the passphrase, its cost or k and n are out of bounds, or when the passphrase
/// would be taken for a key file's line or a share; Unavailable when there is no memory to stretch.
Result<AddedSlot> MakeSlot(const NewSlot& wanted);

/// Whether a text may be a slot's label.
bool IsSlotLabel(std::string_view label);

/// The parameters of a slot as the file holds them; empty for a key file. The root's wrap is bound
/// to them. ENVELOPE.md, "A slot".
std::vector<std::uint8_t> ParametersOf(const Slot& slot);
/// Fills the parameters of a slot of the kind that `slot` says. False when the kind is unknown or
/// the parameters have another size or are out of bounds.
bool ReadParameters(Slot& slot, std::span<const std::uint8_t> bytes);

/// The slot secret that a passphrase gives; by X25519's rules any 32 bytes are one. In locked
/// memory. Errors: Invalid when the passphrase's size or the cost is out of bounds, before
/// anything is stretched; Unavailable when there is no memory to stretch; Exhausted.
Result<SlotSecret> StretchPassphrase(const SecretBytes& passphrase,
                                     const PassphraseParameters& parameters);

/// Whether X25519 with this point gives zero whatever the secret: a root that is sealed to it would
/// be everybody's. A point from outside is checked before it is used.
bool IsOfLowOrder(const SlotPublicKey& point);

/// A fresh secret for a key file, on the heap: it goes into its file and ends.
SlotSecret NewSlotSecret();

/// The public half of a slot's secret of 32 bytes; another size ends the process.
SlotPublicKey PublicKeyOf(const SlotSecret& secret);

/// Seals `root` to the slot's public key (fills `ephemeral_key` and `root` of `slot`), bound to the
/// vault and the slot's id, kind and parameters. A public key of low order ends the process.
void SealRootTo(Slot& slot, const VaultId& vault, const RootKey& root);

/// Errors: Denied when `secret` is not this slot's, Corrupt when the slot does not verify,
/// Exhausted.
Result<RootKey> OpenRootWith(const Slot& slot, const VaultId& vault, const SlotSecret& secret);

/// Whether a text is meant as a key file's line.
bool LooksLikeKeyLine(std::string_view text);
/// A key file's line, without its end.
SecretBytes KeyLineOf(const SlotSecret& secret);
/// Reads a key file's line, without its end. The secret comes in locked memory. Errors: Invalid,
/// Exhausted.
Result<SlotSecret> ParseKeyLine(std::string_view line);

/// Reads a key file: one line `oauthvault-key-1:` and 44 characters of base64 (32 bytes). The file
/// must be regular, at most 256 bytes, closed to group and others (a systemd credential need not).
/// Errors: Invalid (missing, wrong form, wrong mode), the path as subject; Exhausted.
Result<SlotSecret> ReadKeyFile(const std::filesystem::path& path);

/// Writes a key file, mode 0600, durable. Errors: Conflict when the path exists, Unavailable.
Result<void> WriteKeyFile(const std::filesystem::path& path, const SlotSecret& secret);

}  // namespace oauthvault::crypto
