#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "crypto/error.h"
#include "crypto/sealed.h"
#include "crypto/secret.h"
#include "crypto/slots.h"

namespace oauthvault::crypto {

/// Whose KEK seals a row. Removing an owner's KEK makes all its rows unreadable.
enum class OwnerKind : std::uint8_t { kVault = 1, kProject = 2, kComponent = 3 };

/// Whose a KEK is: rows of one owner are shredded together.
struct Owner {
  OwnerKind kind = OwnerKind::kVault;
  std::string name;  ///< the project's or component's id; empty for the vault

  static Owner Vault() { return {}; }
  static Owner Project(std::string_view id) { return {OwnerKind::kProject, std::string(id)}; }
  static Owner Component(std::string_view id) { return {OwnerKind::kComponent, std::string(id)}; }
};

/// The names of a row, as they go into its key.
struct RowNames {
  std::string project;            ///< empty where the table has none
  std::string component;          ///< empty where the table has none
  std::vector<std::string> rest;  ///< the other names, in the table's order
};

/// The keys of an open vault: the root, the named keys that survive a root rotation, and the KEKs
/// by owner and version. Backed by the `keys` file: one file with a MAC, rewritten whole (temporary
/// file, fsync, rename, fsync of the folder), apart from the data. It holds no name. ENVELOPE.md,
/// "The keys file". Threads: all const members from any thread; EnsureKek serialises itself and
/// may run beside them.
class Keyring {
 public:
  /// Makes a new vault: random id, root, named keys and the vault's own KEK, one key-file slot
  /// for `first`. Errors: Conflict when the file exists, Unavailable when it cannot be written,
  /// Invalid when `slot_label` is not 1 to 64 bytes of printable ASCII or `first` not 32 bytes.
  static Result<std::unique_ptr<Keyring>> Create(const std::filesystem::path& keys_file,
                                                 const SlotSecret& first,
                                                 std::string_view slot_label);

  /// Opens an existing file with one slot's secret. Errors: Invalid when there is no such file,
  /// it cannot be read or has an unknown format number; Denied when the secret fits no slot;
  /// Corrupt when the file's MAC or a wrapped key does not verify.
  static Result<std::unique_ptr<Keyring>> Unlock(const std::filesystem::path& keys_file,
                                                 const SlotSecret& secret);

  ~Keyring();
  Keyring(const Keyring&) = delete;
  Keyring& operator=(const Keyring&) = delete;

  const VaultId& Id() const;
  std::uint32_t RootEpoch() const;
  /// Slots as they stand in the file (public halves only).
  std::vector<Slot> Slots() const;

  /// Makes the owner's first KEK unless it has one; durable when it returns. Errors: Unavailable
  /// when the file cannot be written, Exhausted when it holds as many KEKs as it may.
  Result<void> EnsureKek(const Owner& owner);
  bool HasKek(const Owner& owner) const;

  /// The key of a row. The names are hashed with the index key, length-prefixed.
  RowKey KeyOf(std::uint8_t table, const RowNames& names) const;
  /// The leading bytes that all rows of a table share (1), those of a project in it (17), or those
  /// of a project and component in it (25): empty `project` or `component` widens.
  std::vector<std::uint8_t> PrefixOf(std::uint8_t table, std::string_view project,
                                             std::string_view component) const;

  /// Seals under the newest KEK of the owner. Errors: NotFound when the owner has no KEK; Invalid
  /// as SealRow.
  Result<SealedRow> Seal(const Owner& owner, const RowKey& key,
                                       std::uint64_t record_version, const PlainParts& parts) const;
  /// Opens one part. Errors: NotFound when the row has no such part; Corrupt when the owner has
  /// no KEK of the row's version or anything does not verify.
  Result<SecretBytes> Open(const Owner& owner, const RowKey& key, const SealedRow& row,
                                   Part part) const;
  /// The same into the caller's memory of `row.PlainSize(part)` bytes.
  Result<void> OpenInto(const Owner& owner, const RowKey& key, const SealedRow& row,
                                Part part, std::span<std::uint8_t> plain) const;

  /// Keys of other rooms, 32 bytes each; they survive a root rotation.
  const SecretBytes& AuditKey() const;
  const SecretBytes& FingerprintKey() const;
  const SecretBytes& ManifestKey() const;

 private:
  struct State;
  explicit Keyring(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace oauthvault::crypto
