#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "crypto/error.h"
#include "crypto/sealed.h"
#include "crypto/sealed_value.h"
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
/// `vault`, `project acme`, `component sheets`: for lines, logs and people.
std::string TextOf(const Owner& owner);

/// The names of a row, as they go into its key.
struct RowNames {
  std::string project;            ///< empty where the table has none
  std::string component;          ///< empty where the table has none
  std::vector<std::string> rest;  ///< the other names, in the table's order

  bool operator==(const RowNames&) const = default;
};

/// How much the keys file holds, for a status page.
struct KeyCounts {
  std::size_t projects = 0;         ///< projects that have a KEK
  std::size_t components = 0;       ///< components that have a KEK
  std::size_t keks = 0;             ///< all versions of all owners, the vault too
  std::uint32_t highest_version = 0;  ///< the newest version that any owner has
  std::uint32_t epoch = 0;          ///< of the root
  std::size_t slots = 0;
};

/// What removing an owner left.
struct RemovedOwner {
  std::size_t keks = 0;  ///< so many versions were removed; 0: it had none
  /// Whether the old file's blocks were overwritten with zeros: best effort, see RemoveOwner.
  bool overwritten = false;
};

class Keyring;

/// The part key of a row that was read, for as long as its reader has it: all parts of one reading
/// open with one unwrapping of the data key. It opens nothing once the KEK that wrapped the row is
/// removed from the keyring: who read a row before its owner was shredded does not open it after.
/// Move-only, wiped at its end. Made by Keyring::PartKeyOf. Threads: concurrent reads only.
class HeldPartKey {
 public:
  /// Takes it from the heap to locked memory, for a row that stays in memory. Errors: Exhausted;
  /// the key is as it was.
  Result<void> Lock();

 private:
  friend class Keyring;
  HeldPartKey(PartKey key, const std::shared_ptr<const Kek>& kek)
      : key_(std::move(key)), kek_(kek) {}

  PartKey key_;
  std::weak_ptr<const Kek> kek_;  // the keyring's
};

/// A vault that was made, with its first slot.
struct CreatedVault {
  std::unique_ptr<Keyring> keyring;
  AddedSlot slot;
};

/// The keys of an open vault: the root, the named keys that survive a root rotation, and the KEKs
/// by owner and version. Backed by the `keys` file: one file with a MAC, rewritten whole (temporary
/// file, fsync, rename, fsync of the folder), apart from the data. It holds no name. ENVELOPE.md,
/// "The keys file". One process at a time may change a file.
///
/// A change is one durable rewrite of the file, the old state or the new one; the memory follows
/// when the file stands. A change that fails with Unavailable may stand in the file all the same
/// when only the folder's sync failed; the next change settles it. What is removed leaves the
/// file's old blocks too, where the file system writes in place.
///
/// Threads: all members from any thread. Changes wait for each other; const members run beside
/// them, and nothing is unreadable meanwhile.
class Keyring {
 public:
  /// Makes a new vault: random id, root, named keys and the vault's own KEK, and a first slot.
  /// Errors: Conflict when the file exists, Unavailable when it cannot be written; Invalid and
  /// Unavailable as MakeSlot; Exhausted when there is no memory for keys.
  static Result<CreatedVault> Create(const std::filesystem::path& keys_file, const NewSlot& first);

  /// The same with a key file's slot for a secret that is there already. Errors: Invalid also when
  /// `first` is not 32 bytes.
  static Result<std::unique_ptr<Keyring>> Create(const std::filesystem::path& keys_file,
                                                 const SlotSecret& first,
                                                 std::string_view slot_label);

  /// Opens an existing file with one slot's secret. Errors: Invalid when there is no such file,
  /// it cannot be read or has an unknown format number; Denied when the secret fits no slot;
  /// Corrupt when the file's structure is impossible or its MAC or a wrapped key does not verify;
  /// Exhausted when there is no memory for keys.
  static Result<std::unique_ptr<Keyring>> Unlock(const std::filesystem::path& keys_file,
                                                 const SlotSecret& secret);

  /// Opens it with the root itself, as a child process gets it from RootForChild. Errors: as
  /// above; Corrupt also when `root` is another file's or another epoch's; Invalid when it is not
  /// 32 bytes.
  static Result<std::unique_ptr<Keyring>> Unlock(const std::filesystem::path& keys_file,
                                                 RootKey root);

  ~Keyring();
  Keyring(const Keyring&) = delete;
  Keyring& operator=(const Keyring&) = delete;

  const VaultId& Id() const;
  std::uint32_t RootEpoch() const;
  /// Slots as they stand in the file (public halves only), ascending by id.
  std::vector<Slot> Slots() const;
  KeyCounts Counts() const;
  /// The change number of the file that the memory follows: from 1, one more with every writing.
  /// One that failed uses its number up, as its file may stand: no two contents have one number.
  /// Whoever keeps it elsewhere notices that an older file was put back.
  std::uint64_t Changes() const;

  /// A copy of the root for a child process that checks the store, to be written into a pipe to it.
  /// A root rotation between this and the child's reading makes the child see Corrupt. Errors:
  /// Exhausted when there is no memory for keys.
  Result<RootKey> RootForChild() const;

  /// Writes the file as it stands to a new place, durable, whole or not at all (a temporary file
  /// beside it and a link). Errors: Conflict when `path` exists, Unavailable.
  Result<void> CopyTo(const std::filesystem::path& path) const;

  /// Adds a slot. A passphrase is stretched first, while other changes go on. Errors: as MakeSlot;
  /// Exhausted beyond 64 slots; Unavailable when the file cannot be written.
  Result<AddedSlot> AddSlot(const NewSlot& wanted);
  /// Takes the place of a slot with a new one of the same kind, label and parameters (but salt and
  /// set), new secret and new id. `passphrase` is the new one of a passphrase slot, else unused.
  /// The only slot is re-issued when it is a passphrase's: with other kinds a crash before the new
  /// texts are kept would lock the vault for ever. Errors: NotFound; Conflict for such a last one
  /// (add another and remove this); Invalid and Unavailable as MakeSlot; Exhausted.
  Result<AddedSlot> ReissueSlot(std::uint32_t id, const SecretBytes& passphrase);
  /// Removes a slot. Who has kept its secret and an older copy of the file still has the root:
  /// RotateRoot ends that. Errors: NotFound; Conflict for the last one; Unavailable.
  Result<void> RemoveSlot(std::uint32_t id);

  /// Makes a new root, seals it to all slots without their secrets, and wraps all keys under it;
  /// the keys themselves stay. Gives the new epoch. Errors: Exhausted, Unavailable.
  Result<std::uint32_t> RotateRoot();

  /// Makes the owner's first KEK unless it has one; durable when it returns. Errors: Unavailable
  /// when the file cannot be written, Exhausted when it holds as many KEKs as it may or there is no
  /// memory for keys.
  Result<void> EnsureKek(const Owner& owner);
  bool HasKek(const Owner& owner) const;
  /// Makes the owner's next KEK and gives its version: what is sealed from now on is sealed under
  /// it, older rows still open. Errors: NotFound when the owner has none; Exhausted, Unavailable.
  Result<std::uint32_t> RotateKek(const Owner& owner);
  /// The version that seals. Errors: NotFound when the owner has no KEK.
  Result<std::uint32_t> NewestVersion(const Owner& owner) const;
  /// Shreds: removes all KEKs of an owner, so that none of its rows opens again. Rewrites the file,
  /// and then overwrites the old one's content with zeros and syncs it: best effort, as a file
  /// system that copies on write, a snapshot or a disk's spare blocks keep what they keep. Again
  /// changes nothing. Errors: Invalid for the vault itself; Unavailable.
  Result<RemovedOwner> RemoveOwner(const Owner& owner);

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
  /// Unwraps and checks the data key of a row, so that its parts can be opened. Errors: Corrupt
  /// when the owner has no KEK of the row's version or anything does not verify.
  Result<HeldPartKey> PartKeyOf(const Owner& owner, const RowKey& key, const SealedRow& row) const;
  /// Opens one part. Errors: NotFound when the row has no such part; Corrupt when it does not
  /// verify, also because the key is another row's, or the owner's KEK was removed meanwhile.
  Result<SecretBytes> Open(const HeldPartKey& part_key, const RowKey& key, const SealedRow& row,
                           Part part) const;
  /// The same into the caller's memory of `row.PlainSize(part)` bytes. On an error it is wiped.
  Result<void> OpenInto(const HeldPartKey& part_key, const RowKey& key, const SealedRow& row,
                        Part part, std::span<std::uint8_t> plain) const;
  /// Both in one, for a row of which one part is wanted. Errors: of both.
  Result<SecretBytes> Open(const Owner& owner, const RowKey& key, const SealedRow& row,
                           Part part) const;

  /// The same row with its data key wrapped under the owner's newest KEK: bytes 4 to 7 and the
  /// 72 bytes of nonce and wrap change, nothing else, and no part is opened. A row that is at the
  /// newest version gets a new wrap, too. Errors: NotFound when the owner has no KEK; Corrupt when
  /// it has none of the row's version, or the wrap or the commitment does not verify.
  Result<SealedRow> Rewrap(const Owner& owner, const RowKey& key, const SealedRow& row) const;

  /// Seals a value to stand outside of the store, under the newest KEK of the owner. KEKs that
  /// sealed values stay in the keyring, decrypt-only, until the owner is removed. Errors: NotFound
  /// when the owner has no KEK; Invalid as crypto::SealValue.
  Result<SealedValue> SealValue(const Owner& owner, std::uint8_t scope,
                                std::span<const std::string_view> names,
                                const SecretBytes& plain) const;
  /// Opens such a value with the names that it was sealed for. Errors: Corrupt when the owner has
  /// no KEK of the value's version or anything does not verify.
  Result<SecretBytes> OpenValue(const Owner& owner, std::span<const std::string_view> names,
                                const SealedValue& value) const;
  /// Opens a part of a row that stood outside of the store. Errors: Corrupt, likewise.
  Result<SecretBytes> OpenPartOf(const Owner& owner, const SealedPart& part) const;

  /// What a row is in the summary of a set of rows: a keyed hash of its key and its commitment, so
  /// new in every write, and the same after a rewrap. ENVELOPE.md, "Element of a summary".
  std::array<std::uint8_t, 32> ElementOf(const RowKey& key, const SealedRow& row) const;

  /// Keys of other rooms, 32 bytes each; they survive a root rotation.
  const SecretBytes& AuditKey() const;
  const SecretBytes& FingerprintKey() const;

 private:
  struct State;
  explicit Keyring(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace oauthvault::crypto
