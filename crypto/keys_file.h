#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string_view>
#include <vector>

#include "crypto/error.h"
#include "crypto/keyring.h"
#include "crypto/sealed.h"
#include "crypto/secret.h"
#include "crypto/slots.h"

namespace oauthvault::crypto {

// Limits on what a `keys` file may hold.
inline constexpr std::size_t kMaxSlots = 64;
inline constexpr std::size_t kMaxKeks = std::size_t{1} << 17;

inline constexpr std::uint32_t kFirstKekVersion = 1;
inline constexpr std::size_t kOwnerTagSize = 16;

/// The keys that survive a root rotation, in the file's order.
enum NamedKey : std::size_t { kIndex, kAudit, kFingerprint, kManifest, kNamedKeys };

/// Whose a KEK is, as the file says it.
struct OwnerTag {
  OwnerKind kind = OwnerKind::kVault;
  std::array<std::uint8_t, kOwnerTagSize> tag{};
  auto operator<=>(const OwnerTag&) const = default;
};

/// Which KEK; in the file's order.
struct KekName {
  OwnerTag owner;
  std::uint32_t version = 0;
  auto operator<=>(const KekName&) const = default;
};

/// What a `keys` file holds. ENVELOPE.md, "The keys file".
struct KeysFile {
  VaultId vault{};
  std::uint64_t changes = 1;  ///< counts the writings of the file
  std::uint32_t epoch = 1;
  std::uint32_t next_slot = 1;
  std::vector<Slot> slots;  ///< ascending by id
  std::array<WrappedKey, kNamedKeys> named{};
  std::map<KekName, WrappedKey> keks;
};

/// The file's bytes, with the MAC under `root`.
std::vector<std::uint8_t> Serialize(const KeysFile& file, const RootKey& root);

/// A `keys` file as it was read: its structure and all bounds are checked, nothing is computed yet;
/// its MAC waits for the root.
class StoredKeys {
 public:
  /// Errors: Invalid when there is no such file, it cannot be read or has an unknown format number;
  /// Corrupt when its structure is impossible, a slot's kind unknown, a slot's parameters out of
  /// bounds or a public key of low order.
  static Result<StoredKeys> Read(const std::filesystem::path& path);

  const KeysFile& File() const { return file_; }
  /// Errors: Corrupt when the MAC is not that of `root`.
  Result<void> Verify(const RootKey& root) const;

 private:
  StoredKeys(SecretBytes content, KeysFile file)
      : content_(std::move(content)), file_(std::move(file)) {}
  // Nothing in it is secret by itself; only its reader comes with a wiped buffer.
  SecretBytes content_;
  KeysFile file_;
};

/// What the wrap of a named key or a KEK is bound to: use, vault, root epoch, name.
class RootBinding {
 public:
  /// `file` must outlive the binding.
  explicit RootBinding(const KeysFile& file);
  WrappedKey WrapNamed(const RootKey& root, NamedKey key, const SecretBytes& value) const;
  WrappedKey WrapKek(const RootKey& root, const KekName& name, const SecretBytes& kek) const;
  /// Errors: Corrupt, Exhausted.
  Result<SecretBytes> UnwrapNamed(const RootKey& root, NamedKey key,
                                  const WrappedKey& wrapped) const;
  /// Errors: Corrupt, Exhausted.
  Result<SecretBytes> UnwrapKek(const RootKey& root, const KekName& name,
                                const WrappedKey& wrapped) const;

 private:
  std::array<std::string_view, 4> Fields(std::string_view label, std::string_view name) const;
  std::string_view vault_;
  std::array<std::uint8_t, 4> epoch_;
};

}  // namespace oauthvault::crypto
