#include "crypto/keyring.h"

#include <sodium.h>

#include <algorithm>
#include <initializer_list>
#include <limits>
#include <map>
#include <mutex>
#include <shared_mutex>
#include <tuple>
#include <utility>

#include "crypto/aead.h"
#include "crypto/durable_file.h"
#include "crypto/fields.h"
#include "crypto/keys_file.h"
#include "crypto/sabotage.h"

namespace oauthvault::crypto {
namespace {

// The parts of a row key.
constexpr std::size_t kProjectTagSize = 16;
constexpr std::size_t kPairTagSize = 8;
constexpr std::size_t kNamesTagSize = 16;
static_assert(1 + kProjectTagSize + kPairTagSize + kNamesTagSize == kRowKeySize);

constexpr std::string_view kOwnerLabel = "oauthvault/owner";
constexpr std::string_view kRowProjectLabel = "oauthvault/row-key/project";
constexpr std::string_view kRowPairLabel = "oauthvault/row-key/pair";
constexpr std::string_view kRowNamesLabel = "oauthvault/row-key/names";
constexpr std::string_view kElementLabel = "oauthvault/summary/row";

constexpr std::uint32_t kLastNumber = std::numeric_limits<std::uint32_t>::max();
constexpr std::uint64_t kLastChange = std::numeric_limits<std::uint64_t>::max();

Result<RootKey> OpenRoot(const KeysFile& file, const SlotSecret& secret) {
  if (secret.Bytes().Size() == kKeySize) {
    const auto slot = std::ranges::find(file.slots, PublicKeyOf(secret), &Slot::public_key);
    if (slot != file.slots.end()) return OpenRootWith(*slot, file.vault, secret);
  }
  return Fail(Code::kDenied, "the secret opens no slot of the keys file");
}

auto FindSlot(std::vector<Slot>& slots, std::uint32_t id) {
  return std::ranges::find(slots, id, &Slot::id);
}

std::unexpected<Error> NoSuchSlot(std::uint32_t id) {
  return Fail(Code::kNotFound, "there is no such slot", Subject::Number(id));
}

// Gives the slot its id and the root, and puts it at the end.
Result<void> AppendSlot(KeysFile& file, Slot& slot, const RootKey& root) {
  if (file.slots.size() >= kMaxSlots || file.next_slot == kLastNumber) {
    return Fail(Code::kExhausted, "the keys file holds as many slots as it may",
                Subject::Number(static_cast<std::int64_t>(kMaxSlots)));
  }
  slot.id = file.next_slot++;
  SealRootTo(slot, file.vault, root);
  file.slots.push_back(slot);
  return {};
}

// Hashes of names that were made before: a look-up costs a fifth of a hash. So many at most, then
// it begins anew. Threads: any.
template <class Hash>
class Remembered {
 public:
  /// The hash of these, by `make()` where it is not known.
  template <class Make>
  Hash Of(std::uint8_t number, std::string_view first, std::string_view second, Make make) {
    const std::scoped_lock lock(mutex_);
    const auto found = hashes_.find(std::tuple(number, first, second));
    if (found != hashes_.end()) return found->second;
    if (hashes_.size() >= kMostHashes) hashes_.clear();
    return hashes_.emplace(std::tuple(number, first, second), make()).first->second;
  }

 private:
  static constexpr std::size_t kMostHashes = 1024;
  std::mutex mutex_;  // guards hashes_
  std::map<std::tuple<std::uint8_t, std::string, std::string>, Hash, std::less<>> hashes_;
};

}  // namespace

std::string TextOf(const Owner& owner) {
  switch (owner.kind) {
    case OwnerKind::kVault: return "vault";
    case OwnerKind::kProject: return "project " + owner.name;
    case OwnerKind::kComponent: return "component " + owner.name;
  }
  __builtin_unreachable();
}

struct Keyring::State {
  using Versions = std::map<std::uint32_t, std::shared_ptr<const Kek>>;

  // These never change once the vault is open.
  std::filesystem::path path;
  VaultId vault{};
  std::array<SecretBytes, kNamedKeys> named;
  // Made with the index key; by owner, and by table, project and component.
  using PairTags = std::array<std::uint8_t, kProjectTagSize + kPairTagSize>;
  mutable Remembered<OwnerTag> owner_tags;
  mutable Remembered<PairTags> pair_tags;

  // Held while a change is made and its file written. Never taken under `mutex`.
  std::mutex changes;
  // What follows is written under both mutexes and read under either.
  mutable std::shared_mutex mutex;
  RootKey root;
  KeysFile file;
  std::map<OwnerTag, Versions> keks;

  // The change number of the last writing, also of one that failed: its file may stand all the
  // same, and no other content may have its number. Under `changes`.
  std::uint64_t last_number = 0;

  // What the file holds, to be changed and written. Under `changes`.
  KeysFile Next() const {
    KeysFile next = file;
    next.changes = last_number + 1;
    return next;
  }

  // Makes the file hold `next`, sealed under `under`. Under `changes`.
  Result<OldContent> Write(const KeysFile& next, const RootKey& under, Existing existing) {
    if (last_number == kLastChange) {
      return Fail(Code::kExhausted, "the keys file was written as often as it may be");
    }
    last_number = next.changes;
    return PlaceFile(path, Serialize(next, under), existing);
  }

  OwnerTag TagOf(const Owner& owner) const {
    const auto kind = static_cast<std::uint8_t>(owner.kind);
    return owner_tags.Of(kind, owner.name, {}, [&] {
      OwnerTag tag{owner.kind, {}};
      HashInto(named[kIndex],
               std::array<std::string_view, 3>{kOwnerLabel, AsField(LittleEndian(kind)),
                                               owner.name},
               tag.tag);
      return tag;
    });
  }

  // Adds a KEK to the file and then to the memory. Under `changes`.
  Result<void> AddKek(const KekName& name) {
    if (file.keks.size() >= kMaxKeks) {
      return Fail(Code::kExhausted, "the keys file holds as many keys as it may",
                  Subject::Number(static_cast<std::int64_t>(kMaxKeks)));
    }
    Result<SecretBytes> kek = RandomLongLivedKey();
    if (!kek) return Fail(std::move(kek));
    KeysFile next = Next();
    next.keks.emplace(name, RootBinding(next).WrapKek(root, name, *kek));
    // Should the new file stand after a failure, it holds a key that sealed nothing.
    Result<OldContent> written = Write(next, root, Existing::kReplace);
    if (!written) return Fail(std::move(written));
    auto shared = std::make_shared<const Kek>(std::move(*kek));
    const std::unique_lock lock(mutex);
    file = std::move(next);
    keks[name.owner].emplace(name.version, std::move(shared));
    return {};
  }

  struct Found {
    std::uint32_t version = 0;
    std::shared_ptr<const Kek> kek;  // null: not found
  };

  Found Newest(const Owner& owner) const {
    const OwnerTag tag = TagOf(owner);
    const std::shared_lock lock(mutex);
    const auto versions = keks.find(tag);
    if (versions == keks.end()) return {};
    const auto& [version, kek] = *versions->second.rbegin();
    return {version, kek};
  }

  std::shared_ptr<const Kek> Find(const Owner& owner, std::uint32_t version) const {
    const OwnerTag tag = TagOf(owner);
    const std::shared_lock lock(mutex);
    const auto versions = keks.find(tag);
    if (versions == keks.end()) return nullptr;
    const auto found = versions->second.find(version);
    return found == versions->second.end() ? nullptr : found->second;
  }

  // Writes a tag of a row key.
  void TagInto(std::string_view label, std::uint8_t table,
               std::initializer_list<std::string_view> names, std::span<const std::string> rest,
               MutableView tag) const {
    const auto number = LittleEndian(table);
    std::array<std::string_view, 8> few;
    std::vector<std::string_view> many;
    const std::size_t count = 2 + names.size() + rest.size();
    if (count > few.size()) many.resize(count);
    const std::span<std::string_view> fields = many.empty() ? std::span(few).first(count) : many;
    fields[0] = label;
    fields[1] = AsField(number);
    const auto behind = std::ranges::copy(names, fields.begin() + 2).out;
    std::ranges::copy(rest, behind);
    // libsodium documents BLAKE2b for 16 bytes at least; a shorter tag is the begin of that.
    std::array<std::uint8_t, 16> hash{};
    HashInto(named[kIndex], fields, hash);
    std::ranges::copy(std::span(hash).first(tag.size()), tag.begin());
  }

  // The tags that the keys of a pair's rows in a table begin with.
  PairTags TagsOf(std::uint8_t table, std::string_view project, std::string_view component) const {
    return pair_tags.Of(table, project, component, [&] {
      PairTags tags{};
      TagInto(kRowProjectLabel, table, {project}, {}, MutableView(tags).first(kProjectTagSize));
      TagInto(kRowPairLabel, table, {project, component}, {},
              MutableView(tags).last(kPairTagSize));
      return tags;
    });
  }

  // A new vault with one slot; nobody else has the state yet.
  Result<void> Make(const std::filesystem::path& keys_file, Slot& first) {
    path = keys_file;
    randombytes_buf(vault.data(), vault.size());
    file.vault = vault;
    Result<SecretBytes> new_root = RandomLongLivedKey();
    if (!new_root) return Fail(std::move(new_root));
    root = RootKey(std::move(*new_root));
    if (Result<void> added = AppendSlot(file, first, root); !added) return added;
    const RootBinding binding(file);
    for (std::size_t i = 0; i < kNamedKeys; ++i) {
      Result<SecretBytes> key = RandomLongLivedKey();
      if (!key) return Fail(std::move(key));
      named[i] = std::move(*key);
      file.named[i] = binding.WrapNamed(root, static_cast<NamedKey>(i), named[i]);
    }
    const KekName name{TagOf(Owner::Vault()), kFirstKekVersion};
    Result<SecretBytes> kek = RandomLongLivedKey();
    if (!kek) return Fail(std::move(kek));
    file.keks.emplace(name, binding.WrapKek(root, name, *kek));
    Result<OldContent> written = Write(file, root, Existing::kRefuse);
    if (!written) return Fail(std::move(written));
    keks[name.owner].emplace(name.version, std::make_shared<const Kek>(std::move(*kek)));
    return {};
  }

  // An existing vault; nobody else has the state yet.
  Result<void> Open(const std::filesystem::path& keys_file, const StoredKeys& stored,
                    RootKey opened) {
    if (Result<void> verified = stored.Verify(opened); !verified) return verified;
    path = keys_file;
    file = stored.File();
    last_number = file.changes;
    vault = file.vault;
    root = std::move(opened);
    const RootBinding binding(file);
    for (std::size_t i = 0; i < kNamedKeys; ++i) {
      Result<SecretBytes> key = binding.UnwrapNamed(root, static_cast<NamedKey>(i), file.named[i]);
      if (!key) return Fail(std::move(key));
      named[i] = std::move(*key);
    }
    for (const auto& [name, wrapped] : file.keks) {
      Result<SecretBytes> kek = binding.UnwrapKek(root, name, wrapped);
      if (!kek) return Fail(std::move(kek));
      keks[name.owner].emplace(name.version, std::make_shared<const Kek>(std::move(*kek)));
    }
    return {};
  }
};

Keyring::Keyring(std::unique_ptr<State> state) : state_(std::move(state)) {}
Keyring::~Keyring() = default;

Result<CreatedVault> Keyring::Create(const std::filesystem::path& keys_file,
                                     const NewSlot& first) {
  Result<AddedSlot> slot = MakeSlot(first);
  if (!slot) return Fail(std::move(slot));
  auto state = std::make_unique<State>();
  if (Result<void> made = state->Make(keys_file, slot->slot); !made) return Fail(std::move(made));
  return CreatedVault{std::unique_ptr<Keyring>(new Keyring(std::move(state))), std::move(*slot)};
}

Result<std::unique_ptr<Keyring>> Keyring::Create(const std::filesystem::path& keys_file,
                                                 const SlotSecret& first,
                                                 std::string_view slot_label) {
  if (!IsSlotLabel(slot_label)) {
    return Fail(Code::kInvalid, "the first slot's label is 1 to 64 characters of printable ASCII");
  }
  if (first.Bytes().Size() != kKeySize) {
    return Fail(Code::kInvalid, "a slot's secret has 32 bytes");
  }
  Slot slot;
  slot.label = std::string(slot_label);
  slot.public_key = PublicKeyOf(first);
  auto state = std::make_unique<State>();
  if (Result<void> made = state->Make(keys_file, slot); !made) return Fail(std::move(made));
  return std::unique_ptr<Keyring>(new Keyring(std::move(state)));
}

Result<std::unique_ptr<Keyring>> Keyring::Unlock(const std::filesystem::path& keys_file,
                                                 const SlotSecret& secret) {
  Result<StoredKeys> stored = StoredKeys::Read(keys_file);
  if (!stored) return Fail(std::move(stored));
  Result<RootKey> root = OpenRoot(stored->File(), secret);
  if (!root) return Fail(std::move(root));
  auto state = std::make_unique<State>();
  if (Result<void> opened = state->Open(keys_file, *stored, std::move(*root)); !opened) {
    return Fail(std::move(opened));
  }
  return std::unique_ptr<Keyring>(new Keyring(std::move(state)));
}

Result<std::unique_ptr<Keyring>> Keyring::Unlock(const std::filesystem::path& keys_file,
                                                 RootKey root) {
  if (root.Bytes().Size() != kKeySize) return Fail(Code::kInvalid, "a root has 32 bytes");
  Result<StoredKeys> stored = StoredKeys::Read(keys_file);
  if (!stored) return Fail(std::move(stored));
  auto state = std::make_unique<State>();
  if (Result<void> opened = state->Open(keys_file, *stored, std::move(root)); !opened) {
    return Fail(std::move(opened));
  }
  return std::unique_ptr<Keyring>(new Keyring(std::move(state)));
}

const VaultId& Keyring::Id() const { return state_->vault; }

std::uint32_t Keyring::RootEpoch() const {
  const std::shared_lock lock(state_->mutex);
  return state_->file.epoch;
}

std::vector<Slot> Keyring::Slots() const {
  const std::shared_lock lock(state_->mutex);
  return state_->file.slots;
}

std::uint64_t Keyring::Changes() const {
  const std::shared_lock lock(state_->mutex);
  return state_->file.changes;
}

KeyCounts Keyring::Counts() const {
  const std::shared_lock lock(state_->mutex);
  KeyCounts counts;
  counts.keks = state_->file.keks.size();
  counts.epoch = state_->file.epoch;
  counts.slots = state_->file.slots.size();
  for (const auto& [owner, versions] : state_->keks) {
    if (owner.kind == OwnerKind::kProject) ++counts.projects;
    if (owner.kind == OwnerKind::kComponent) ++counts.components;
    counts.highest_version = std::max(counts.highest_version, versions.rbegin()->first);
  }
  return counts;
}

Result<RootKey> Keyring::RootForChild() const {
  const std::shared_lock lock(state_->mutex);
  Result<SecretBytes> copy = state_->root.Bytes().CloneKey();
  if (!copy) return Fail(std::move(copy));
  return RootKey(std::move(*copy));
}

Result<void> Keyring::CopyTo(const std::filesystem::path& path) const {
  const std::scoped_lock changing(state_->changes);
  Result<OldContent> placed =
      PlaceFile(path, Serialize(state_->file, state_->root), Existing::kRefuse);
  if (!placed) return Fail(std::move(placed));
  return {};
}

Result<AddedSlot> Keyring::AddSlot(const NewSlot& wanted) {
  Result<AddedSlot> added = MakeSlot(wanted);
  if (!added) return added;
  const std::scoped_lock changing(state_->changes);
  KeysFile next = state_->Next();
  if (Result<void> appended = AppendSlot(next, added->slot, state_->root); !appended) {
    return Fail(std::move(appended));
  }
  Result<OldContent> written = state_->Write(next, state_->root, Existing::kReplace);
  if (!written) return Fail(std::move(written));
  const std::unique_lock lock(state_->mutex);
  state_->file = std::move(next);
  return added;
}

Result<AddedSlot> Keyring::ReissueSlot(std::uint32_t id, const SecretBytes& passphrase) {
  std::vector<Slot> slots = Slots();
  const auto old = FindSlot(slots, id);
  if (old == slots.end()) return NoSuchSlot(id);
  NewSlot wanted;
  wanted.kind = old->kind;
  wanted.label = old->label;
  wanted.cost = old->passphrase.cost;
  wanted.threshold = old->shares.threshold;
  wanted.total = old->shares.total;
  if (old->kind == SlotKind::kPassphrase) wanted.passphrase = passphrase.Clone();
  Result<AddedSlot> added = MakeSlot(wanted);
  if (!added) return added;

  const std::scoped_lock changing(state_->changes);
  KeysFile next = state_->Next();
  // Another caller may have removed it while this one stretched.
  const auto found = FindSlot(next.slots, id);
  if (found == next.slots.end()) return NoSuchSlot(id);
  if (next.slots.size() == 1 && found->kind != SlotKind::kPassphrase) {
    return Fail(Code::kConflict, "the only slot is re-issued by adding another and removing it",
                Subject::Number(id));
  }
  next.slots.erase(found);
  if (Result<void> appended = AppendSlot(next, added->slot, state_->root); !appended) {
    return Fail(std::move(appended));
  }
  Result<OldContent> written = state_->Write(next, state_->root, Existing::kErase);
  if (!written) return Fail(std::move(written));
  const std::unique_lock lock(state_->mutex);
  state_->file = std::move(next);
  return added;
}

Result<void> Keyring::RemoveSlot(std::uint32_t id) {
  const std::scoped_lock changing(state_->changes);
  KeysFile next = state_->Next();
  const auto found = FindSlot(next.slots, id);
  if (found == next.slots.end()) return NoSuchSlot(id);
  if (next.slots.size() == 1) {
    return Fail(Code::kConflict, "the last slot cannot be removed", Subject::Number(id));
  }
  next.slots.erase(found);
  Result<OldContent> written = state_->Write(next, state_->root, Existing::kErase);
  if (!written) return Fail(std::move(written));
  const std::unique_lock lock(state_->mutex);
  state_->file = std::move(next);
  return {};
}

Result<std::uint32_t> Keyring::RotateRoot() {
  const std::scoped_lock changing(state_->changes);
  KeysFile next = state_->Next();
  if (next.epoch == kLastNumber) {
    return Fail(Code::kExhausted, "the root was rotated as often as it may be");
  }
  ++next.epoch;
  Result<SecretBytes> key = RandomLongLivedKey();
  if (!key) return Fail(std::move(key));
  RootKey root(std::move(*key));
  for (Slot& slot : next.slots) SealRootTo(slot, next.vault, root);
  const RootBinding binding(next);
  for (std::size_t i = 0; i < kNamedKeys; ++i) {
    next.named[i] = binding.WrapNamed(root, static_cast<NamedKey>(i), state_->named[i]);
  }
  for (auto& [name, wrapped] : next.keks) {
    const Kek& kek = *state_->keks.at(name.owner).at(name.version);
    wrapped = binding.WrapKek(root, name, kek.Bytes());
  }
  Result<OldContent> written = state_->Write(next, root, Existing::kErase);
  if (!written) return Fail(std::move(written));
  const std::unique_lock lock(state_->mutex);
  state_->root = std::move(root);
  state_->file = std::move(next);
  return state_->file.epoch;
}

Result<void> Keyring::EnsureKek(const Owner& owner) {
  if (HasKek(owner)) return {};
  const std::scoped_lock changing(state_->changes);
  // Another caller may have made it while this one waited.
  if (HasKek(owner)) return {};
  return state_->AddKek({state_->TagOf(owner), kFirstKekVersion});
}

bool Keyring::HasKek(const Owner& owner) const { return state_->Newest(owner).kek != nullptr; }

Result<std::uint32_t> Keyring::RotateKek(const Owner& owner) {
  const std::scoped_lock changing(state_->changes);
  const State::Found newest = state_->Newest(owner);
  if (!newest.kek) return Fail(Code::kNotFound, "the owner has no key to rotate");
  if (newest.version == kLastNumber) {
    return Fail(Code::kExhausted, "the owner's key was rotated as often as it may be");
  }
  const KekName name{state_->TagOf(owner), newest.version + 1};
  if (Result<void> added = state_->AddKek(name); !added) return Fail(std::move(added));
  return name.version;
}

Result<std::uint32_t> Keyring::NewestVersion(const Owner& owner) const {
  const State::Found newest = state_->Newest(owner);
  if (!newest.kek) return Fail(Code::kNotFound, "the owner has no key that has a version");
  return newest.version;
}

Result<RemovedOwner> Keyring::RemoveOwner(const Owner& owner) {
  if (owner.kind == OwnerKind::kVault) {
    return Fail(Code::kInvalid, "the vault's own key is not removed");
  }
  const OwnerTag tag = state_->TagOf(owner);
  const std::scoped_lock changing(state_->changes);
  KeysFile next = state_->Next();
  const std::size_t removed =
      std::erase_if(next.keks, [&](const auto& entry) { return entry.first.owner == tag; });
  if (removed == 0) return RemovedOwner{};
  if (IsSabotaged(Sabotage::kKeepShreddedKey)) next = state_->Next();
  Result<OldContent> written = state_->Write(next, state_->root, Existing::kErase);
  if (!written) return Fail(std::move(written));
  const std::unique_lock lock(state_->mutex);
  state_->file = std::move(next);
  state_->keks.erase(tag);
  return RemovedOwner{removed, *written == OldContent::kErased};
}

RowKey Keyring::KeyOf(std::uint8_t table, const RowNames& names) const {
  RowKey key;
  const MutableView bytes(key.bytes);
  bytes[0] = table;
  std::ranges::copy(state_->TagsOf(table, names.project, names.component),
                    bytes.subspan(1).begin());
  state_->TagInto(kRowNamesLabel, table, {names.project, names.component}, names.rest,
                  bytes.last(kNamesTagSize));
  return key;
}

std::vector<std::uint8_t> Keyring::PrefixOf(std::uint8_t table, std::string_view project,
                                            std::string_view component) const {
  std::vector<std::uint8_t> prefix{table};
  if (project.empty()) return prefix;
  const State::PairTags tags = state_->TagsOf(table, project, component);
  Append(prefix, ByteView(tags).first(component.empty() ? kProjectTagSize : tags.size()));
  return prefix;
}

Result<SealedRow> Keyring::Seal(const Owner& owner, const RowKey& key,
                                std::uint64_t record_version, const PlainParts& parts) const {
  const State::Found newest = state_->Newest(owner);
  if (!newest.kek) return Fail(Code::kNotFound, "the owner has no key");
  return SealRow(*newest.kek, newest.version, state_->vault, key, record_version, parts);
}

Result<void> HeldPartKey::Lock() {
  Result<SecretBytes> locked = key_.Bytes().CloneKey();
  if (!locked) return Fail(std::move(locked));
  key_ = PartKey(std::move(*locked));
  return {};
}

Result<HeldPartKey> Keyring::PartKeyOf(const Owner& owner, const RowKey& key,
                                       const SealedRow& row) const {
  const std::shared_ptr<const Kek> kek = state_->Find(owner, row.KekVersion());
  if (!kek) {
    return Fail(Code::kCorrupt, "the owner has no key of the row's version",
                Subject::Number(row.KekVersion()));
  }
  Result<PartKey> part_key = OpenPartKey(*kek, state_->vault, key, row);
  if (!part_key) return Fail(std::move(part_key));
  return HeldPartKey(std::move(*part_key), kek);
}

Result<SecretBytes> Keyring::Open(const HeldPartKey& part_key, const RowKey& key,
                                  const SealedRow& row, Part part) const {
  SecretBytes plain(row.PlainSize(part));
  Result<void> opened = plain.Fill([&](MutableView bytes) {
    return OpenInto(part_key, key, row, part, bytes);
  });
  if (!opened) return Fail(std::move(opened));
  return plain;
}

Result<void> Keyring::OpenInto(const HeldPartKey& part_key, const RowKey& key,
                               const SealedRow& row, Part part, MutableView plain) const {
  if (part_key.kek_.expired()) {
    Wipe(plain);
    return Fail(Code::kCorrupt, "the owner's key was removed since the row was read");
  }
  return OpenPartInto(part_key.key_, state_->vault, key, row, part, plain);
}

Result<SecretBytes> Keyring::Open(const Owner& owner, const RowKey& key, const SealedRow& row,
                                  Part part) const {
  const Result<HeldPartKey> part_key = PartKeyOf(owner, key, row);
  if (!part_key) return std::unexpected(part_key.error());
  return Open(*part_key, key, row, part);
}

Result<SealedRow> Keyring::Rewrap(const Owner& owner, const RowKey& key,
                                  const SealedRow& row) const {
  const State::Found newest = state_->Newest(owner);
  if (!newest.kek) return Fail(Code::kNotFound, "the owner has no key to rewrap a row under");
  const std::shared_ptr<const Kek> old = state_->Find(owner, row.KekVersion());
  if (!old) {
    return Fail(Code::kCorrupt, "the owner has no key of the version that wraps the row",
                Subject::Number(row.KekVersion()));
  }
  return RewrapRow(*old, *newest.kek, newest.version, state_->vault, key, row);
}

Result<SealedValue> Keyring::SealValue(const Owner& owner, std::uint8_t scope,
                                       std::span<const std::string_view> names,
                                       const SecretBytes& plain) const {
  const State::Found newest = state_->Newest(owner);
  if (!newest.kek) return Fail(Code::kNotFound, "the owner has no key to seal values under");
  return crypto::SealValue(*newest.kek, newest.version, state_->vault, scope, names, plain);
}

Result<SecretBytes> Keyring::OpenValue(const Owner& owner, std::span<const std::string_view> names,
                                       const SealedValue& value) const {
  const std::shared_ptr<const Kek> kek = state_->Find(owner, value.KekVersion());
  if (!kek) {
    return Fail(Code::kCorrupt, "the owner has no key of the sealed value's version",
                Subject::Number(value.KekVersion()));
  }
  return crypto::OpenValue(*kek, state_->vault, names, value);
}

Result<SecretBytes> Keyring::OpenPartOf(const Owner& owner, const SealedPart& part) const {
  const std::shared_ptr<const Kek> kek = state_->Find(owner, part.KekVersion());
  if (!kek) {
    return Fail(Code::kCorrupt, "the owner has no key of the sealed part's version",
                Subject::Number(part.KekVersion()));
  }
  return OpenSealedPart(*kek, state_->vault, part);
}

std::array<std::uint8_t, 32> Keyring::ElementOf(const RowKey& key, const SealedRow& row) const {
  return CommitmentOf(state_->named[kManifest],
                      std::array{kElementLabel, AsField(key.bytes), AsField(row.Commitment())});
}

const SecretBytes& Keyring::AuditKey() const { return state_->named[kAudit]; }
const SecretBytes& Keyring::FingerprintKey() const { return state_->named[kFingerprint]; }

}  // namespace oauthvault::crypto
