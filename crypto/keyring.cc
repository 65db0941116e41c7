#include "crypto/keyring.h"

#include <sodium.h>

#include <algorithm>
#include <map>
#include <mutex>
#include <shared_mutex>
#include <utility>

#include "crypto/durable_file.h"
#include "crypto/fields.h"

namespace oauthvault::crypto {
namespace {

using Bytes = std::span<const std::uint8_t>;

// ENVELOPE.md, "The keys file".
constexpr std::string_view kMagic = "OVKEYS";
constexpr std::uint16_t kFormat = 1;
constexpr std::uint32_t kFirstEpoch = 1;
constexpr std::uint32_t kFirstSlot = 1;
constexpr std::uint32_t kFirstKekVersion = 1;
constexpr std::size_t kMacSize = 32;
constexpr std::size_t kOwnerTagSize = 16;

// Limits on what a file may claim.
constexpr std::size_t kMaxSlots = 64;
constexpr std::size_t kMaxSlotLabel = 64;
constexpr std::size_t kMaxKeks = std::size_t{1} << 17;
constexpr std::size_t kMaxFileSize = std::size_t{1} << 25;

// The parts of a row key.
constexpr std::size_t kProjectTagSize = 16;
constexpr std::size_t kPairTagSize = 8;
constexpr std::size_t kNamesTagSize = 16;
static_assert(1 + kProjectTagSize + kPairTagSize + kNamesTagSize == kRowKeySize);

constexpr std::string_view kMacKeyLabel = "oauthvault/keys/mac-key";
constexpr std::string_view kMacLabel = "oauthvault/keys/mac";
constexpr std::string_view kNamedLabel = "oauthvault/keys/named";
constexpr std::string_view kKekLabel = "oauthvault/keys/kek";
constexpr std::string_view kOwnerLabel = "oauthvault/owner";
constexpr std::string_view kRowProjectLabel = "oauthvault/row-key/project";
constexpr std::string_view kRowPairLabel = "oauthvault/row-key/pair";
constexpr std::string_view kRowNamesLabel = "oauthvault/row-key/names";

enum NamedKey : std::size_t { kIndex, kAudit, kFingerprint, kManifest, kNamedKeys };
constexpr std::array<std::string_view, kNamedKeys> kKeyNames{"index", "audit", "fingerprint",
                                                             "manifest"};

// Whose a KEK is, as the file says it.
struct OwnerTag {
  OwnerKind kind = OwnerKind::kVault;
  std::array<std::uint8_t, kOwnerTagSize> tag{};
  auto operator<=>(const OwnerTag&) const = default;
};

struct KekName {
  OwnerTag owner;
  std::uint32_t version = 0;
  auto operator<=>(const KekName&) const = default;
};

// A KEK's name as it stands in the file; the wrap is bound to it.
constexpr std::size_t kKekNameSize = 1 + kOwnerTagSize + sizeof(std::uint32_t);
using KekNameBytes = std::array<std::uint8_t, kKekNameSize>;

KekNameBytes BytesOf(const KekName& name) {
  KekNameBytes bytes{static_cast<std::uint8_t>(name.owner.kind)};
  std::ranges::copy(name.owner.tag, bytes.begin() + 1);
  std::ranges::copy(LittleEndian(name.version), bytes.begin() + 1 + kOwnerTagSize);
  return bytes;
}

// What the file holds.
struct KeysFile {
  VaultId vault{};
  std::uint32_t epoch = kFirstEpoch;
  std::uint32_t next_slot = kFirstSlot;
  std::vector<Slot> slots;
  std::array<WrappedKey, kNamedKeys> named{};
  std::map<KekName, WrappedKey> keks;
};

bool IsLabel(std::string_view label) {
  return !label.empty() && label.size() <= kMaxSlotLabel &&
         std::ranges::all_of(label, [](char c) { return c >= ' ' && c <= '~'; });
}

std::vector<std::uint8_t> MacOf(const RootKey& root, Bytes body) {
  const SecretBytes key = DeriveKey(root.Bytes(), std::array{kMacKeyLabel});
  return KeyedHash(key, std::array{kMacLabel, AsField(body)}, kMacSize);
}

std::vector<std::uint8_t> Serialize(const KeysFile& file, const RootKey& root) {
  std::vector<std::uint8_t> out;
  Append(out, AsBytes(kMagic));
  Append(out, LittleEndian(kFormat));
  Append(out, file.vault);
  Append(out, LittleEndian(file.epoch));
  Append(out, LittleEndian(file.next_slot));
  out.push_back(static_cast<std::uint8_t>(file.slots.size()));
  for (const Slot& slot : file.slots) {
    Append(out, LittleEndian(slot.id));
    out.push_back(static_cast<std::uint8_t>(slot.kind));
    out.push_back(static_cast<std::uint8_t>(slot.label.size()));
    Append(out, AsBytes(slot.label));
    Append(out, slot.public_key);
    Append(out, slot.ephemeral_key);
    Append(out, slot.root);
  }
  for (const WrappedKey& key : file.named) Append(out, key);
  Append(out, LittleEndian(static_cast<std::uint32_t>(file.keks.size())));
  for (const auto& [name, key] : file.keks) {
    Append(out, BytesOf(name));
    Append(out, key);
  }
  Append(out, MacOf(root, out));
  return out;
}

// Takes fields from the front of a file. Past the end it gives zeros and remembers it, so that the
// reading code asks once, where a count or the end is reached.
class Reader {
 public:
  explicit Reader(Bytes bytes) : rest_(bytes) {}

  template <std::unsigned_integral T>
  T Number() {
    return FromLittleEndian<T>(Array<sizeof(T)>());
  }
  template <std::size_t N>
  std::array<std::uint8_t, N> Array() {
    std::array<std::uint8_t, N> out{};
    if (const Bytes taken = Take(N); taken.size() == N) std::ranges::copy(taken, out.begin());
    return out;
  }
  Bytes Take(std::size_t size) {
    if (size > rest_.size()) {
      complete_ = false;
      return {};
    }
    const Bytes taken = rest_.first(size);
    rest_ = rest_.subspan(size);
    return taken;
  }
  bool Complete() const { return complete_; }
  bool AtEnd() const { return complete_ && rest_.empty(); }

 private:
  Bytes rest_;
  bool complete_ = true;
};

Result<Slot> ReadSlot(Reader& in) {
  Slot slot;
  slot.id = in.Number<std::uint32_t>();
  slot.kind = static_cast<SlotKind>(in.Number<std::uint8_t>());
  slot.label = std::string(AsField(in.Take(in.Number<std::uint8_t>())));
  slot.public_key = in.Array<kKeySize>();
  slot.ephemeral_key = in.Array<kKeySize>();
  slot.root = in.Array<kWrappedKeySize>();
  if (!in.Complete() || slot.kind != SlotKind::kKeyFile || !IsLabel(slot.label)) {
    return Fail(Code::kCorrupt, "the keys file holds an impossible slot",
                Subject::Number(slot.id));
  }
  return slot;
}

// Checks structure and bounds; the MAC needs the root and comes later.
Result<KeysFile> ParseBody(Bytes body) {
  Reader in(body);
  if (AsField(in.Take(kMagic.size())) != kMagic) {
    return Fail(Code::kInvalid, "not a keys file");
  }
  const auto format = in.Number<std::uint16_t>();
  if (in.Complete() && format != kFormat) {
    return Fail(Code::kInvalid, "the keys file has a format that this version does not know",
                Subject::Number(format));
  }
  KeysFile file;
  file.vault = in.Array<kVaultIdSize>();
  file.epoch = in.Number<std::uint32_t>();
  file.next_slot = in.Number<std::uint32_t>();
  const std::size_t slots = in.Number<std::uint8_t>();
  if (!in.Complete() || slots == 0 || slots > kMaxSlots) {
    return Fail(Code::kCorrupt, "the keys file holds an impossible number of slots");
  }
  for (std::size_t i = 0; i < slots; ++i) {
    Result<Slot> slot = ReadSlot(in);
    if (!slot) return Fail(std::move(slot));
    file.slots.push_back(std::move(*slot));
  }
  for (WrappedKey& key : file.named) key = in.Array<kWrappedKeySize>();
  const std::size_t keks = in.Number<std::uint32_t>();
  if (!in.Complete() || keks > kMaxKeks) {
    return Fail(Code::kCorrupt, "the keys file holds an impossible number of keys");
  }
  for (std::size_t i = 0; i < keks; ++i) {
    KekName name;
    const auto kind = in.Number<std::uint8_t>();
    name.owner.kind = static_cast<OwnerKind>(kind);
    name.owner.tag = in.Array<kOwnerTagSize>();
    name.version = in.Number<std::uint32_t>();
    const auto key = in.Array<kWrappedKeySize>();
    const bool known = kind >= static_cast<std::uint8_t>(OwnerKind::kVault) &&
                       kind <= static_cast<std::uint8_t>(OwnerKind::kComponent);
    if (!in.Complete() || !known || name.version == 0 || !file.keks.emplace(name, key).second) {
      return Fail(Code::kCorrupt, "the keys file holds an impossible key");
    }
  }
  if (!in.AtEnd()) return Fail(Code::kCorrupt, "the keys file holds more than it says");
  return file;
}

Result<RootKey> OpenRoot(const KeysFile& file, const SlotSecret& secret) {
  for (const Slot& slot : file.slots) {
    Result<RootKey> root = OpenRootWith(slot, file.vault, secret);
    if (root || root.error().GetCode() != Code::kDenied) return root;
  }
  return Fail(Code::kDenied, "the secret opens no slot of the keys file");
}

// What the wrap of a named key or a KEK is bound to.
class RootBinding {
 public:
  explicit RootBinding(const KeysFile& file)
      : vault_(AsField(file.vault)), epoch_(LittleEndian(file.epoch)) {}

  std::array<std::string_view, 4> Named(std::size_t key) const {
    return {kNamedLabel, vault_, AsField(epoch_), kKeyNames[key]};
  }

  std::array<std::string_view, 4> OfKek(const KekNameBytes& name) const {
    return {kKekLabel, vault_, AsField(epoch_), AsField(name)};
  }

 private:
  std::string_view vault_;
  std::array<std::uint8_t, 4> epoch_;
};

}  // namespace

struct Keyring::State {
  using Versions = std::map<std::uint32_t, std::shared_ptr<const Kek>>;

  std::filesystem::path path;
  RootKey root;
  std::array<SecretBytes, kNamedKeys> named;

  // Held while the file is written. Never taken under keks_mutex.
  std::mutex file_mutex;
  // Guarded by file_mutex, but for the vault's id, the epoch and the slots, which do not change.
  KeysFile file;

  mutable std::shared_mutex keks_mutex;
  std::map<OwnerTag, Versions> keks;  // guarded by keks_mutex

  OwnerTag TagOf(const Owner& owner) const {
    const auto kind = LittleEndian(static_cast<std::uint8_t>(owner.kind));
    OwnerTag tag{owner.kind, {}};
    const auto hash = KeyedHash(named[kIndex],
                                std::array<std::string_view, 3>{kOwnerLabel, AsField(kind),
                                                                owner.name},
                                kOwnerTagSize);
    std::ranges::copy(hash, tag.tag.begin());
    return tag;
  }

  void Remember(const KekName& name, SecretBytes kek) {
    auto shared = std::make_shared<const Kek>(std::move(kek));
    const std::unique_lock lock(keks_mutex);
    keks[name.owner].insert_or_assign(name.version, std::move(shared));
  }

  struct Found {
    std::uint32_t version = 0;
    std::shared_ptr<const Kek> kek;  // null: not found
  };

  Found Newest(const Owner& owner) const {
    const OwnerTag tag = TagOf(owner);
    const std::shared_lock lock(keks_mutex);
    const auto versions = keks.find(tag);
    if (versions == keks.end()) return {};
    const auto& [version, kek] = *versions->second.rbegin();
    return {version, kek};
  }

  std::shared_ptr<const Kek> Find(const Owner& owner, std::uint32_t version) const {
    const OwnerTag tag = TagOf(owner);
    const std::shared_lock lock(keks_mutex);
    const auto versions = keks.find(tag);
    if (versions == keks.end()) return nullptr;
    const auto found = versions->second.find(version);
    return found == versions->second.end() ? nullptr : found->second;
  }

  // A tag of a row key.
  std::vector<std::uint8_t> RowTag(std::string_view label, std::uint8_t table,
                                   std::span<const std::string_view> names,
                                   std::size_t size) const {
    const auto number = LittleEndian(table);
    std::vector<std::string_view> fields{label, AsField(number)};
    fields.insert(fields.end(), names.begin(), names.end());
    return KeyedHash(named[kIndex], fields, size);
  }
};

Keyring::Keyring(std::unique_ptr<State> state) : state_(std::move(state)) {}
Keyring::~Keyring() = default;

Result<std::unique_ptr<Keyring>> Keyring::Create(const std::filesystem::path& keys_file,
                                                 const SlotSecret& first,
                                                 std::string_view slot_label) {
  if (!IsLabel(slot_label)) {
    return Fail(Code::kInvalid, "a slot's label is 1 to 64 characters of printable ASCII");
  }
  if (first.Bytes().Size() != kKeySize) {
    return Fail(Code::kInvalid, "a slot's secret has 32 bytes");
  }
  auto state = std::make_unique<State>();
  state->path = keys_file;
  state->root = RootKey(RandomKey());
  KeysFile& file = state->file;
  randombytes_buf(file.vault.data(), file.vault.size());

  Slot slot;
  slot.id = file.next_slot++;
  slot.label = std::string(slot_label);
  slot.public_key = PublicKeyOf(first);
  SealRootTo(slot, file.vault, state->root);
  file.slots.push_back(std::move(slot));

  const RootBinding binding(file);
  for (std::size_t i = 0; i < kNamedKeys; ++i) {
    state->named[i] = RandomKey();
    file.named[i] = WrapKey(state->root.Bytes(), state->named[i], binding.Named(i));
  }
  const KekName name{state->TagOf(Owner::Vault()), kFirstKekVersion};
  SecretBytes kek = RandomKey();
  file.keks.emplace(name, WrapKey(state->root.Bytes(), kek, binding.OfKek(BytesOf(name))));
  Result<void> placed =
      PlaceFile(keys_file, Serialize(file, state->root), Existing::kRefuse);
  if (!placed) return Fail(std::move(placed));
  state->Remember(name, std::move(kek));
  return std::unique_ptr<Keyring>(new Keyring(std::move(state)));
}

Result<std::unique_ptr<Keyring>> Keyring::Unlock(const std::filesystem::path& keys_file,
                                                 const SlotSecret& secret) {
  Result<SecretBytes> content = ReadFileBytes(keys_file, kMaxFileSize, FileAccess::kAny);
  if (!content) return Fail(std::move(content));
  auto state = std::make_unique<State>();
  state->path = keys_file;
  // Nothing in the file is secret by itself; only its reader comes with a wiped buffer.
  Result<void> opened = content->Expose([&](Bytes bytes) -> Result<void> {
    if (bytes.size() < kMacSize) return Fail(Code::kInvalid, "the keys file is too short");
    const Bytes body = bytes.first(bytes.size() - kMacSize);
    Result<KeysFile> file = ParseBody(body);
    if (!file) return Fail(std::move(file));
    state->file = std::move(*file);
    Result<RootKey> root = OpenRoot(state->file, secret);
    if (!root) return Fail(std::move(root));
    state->root = std::move(*root);
    const std::vector<std::uint8_t> mac = MacOf(state->root, body);
    if (sodium_memcmp(mac.data(), bytes.last(kMacSize).data(), kMacSize) != 0) {
      return Fail(Code::kCorrupt, "the MAC of the keys file does not verify");
    }
    return {};
  });
  if (!opened) return Fail(std::move(opened));

  const RootBinding binding(state->file);
  for (std::size_t i = 0; i < kNamedKeys; ++i) {
    Result<SecretBytes> key =
        UnwrapKey(state->root.Bytes(), state->file.named[i], binding.Named(i));
    if (!key) return Fail(std::move(key));
    state->named[i] = std::move(*key);
  }
  for (const auto& [name, wrapped] : state->file.keks) {
    Result<SecretBytes> kek =
        UnwrapKey(state->root.Bytes(), wrapped, binding.OfKek(BytesOf(name)));
    if (!kek) return Fail(std::move(kek));
    state->Remember(name, std::move(*kek));
  }
  return std::unique_ptr<Keyring>(new Keyring(std::move(state)));
}

const VaultId& Keyring::Id() const { return state_->file.vault; }

std::uint32_t Keyring::RootEpoch() const { return state_->file.epoch; }

std::vector<Slot> Keyring::Slots() const { return state_->file.slots; }

Result<void> Keyring::EnsureKek(const Owner& owner) {
  if (HasKek(owner)) return {};
  const std::scoped_lock lock(state_->file_mutex);
  // Another caller may have made it while this one waited.
  if (HasKek(owner)) return {};
  KeysFile& file = state_->file;
  if (file.keks.size() >= kMaxKeks) {
    return Fail(Code::kExhausted, "the keys file holds as many keys as it may",
                Subject::Number(static_cast<std::int64_t>(kMaxKeks)));
  }
  const KekName name{state_->TagOf(owner), kFirstKekVersion};
  SecretBytes kek = RandomKey();
  file.keks.emplace(
      name, WrapKey(state_->root.Bytes(), kek, RootBinding(file).OfKek(BytesOf(name))));
  Result<void> placed =
      PlaceFile(state_->path, Serialize(file, state_->root), Existing::kReplace);
  if (!placed) {
    // Should the new file stand after all, it holds a key that sealed nothing.
    file.keks.erase(name);
    return Fail(std::move(placed));
  }
  state_->Remember(name, std::move(kek));
  return {};
}

bool Keyring::HasKek(const Owner& owner) const { return state_->Newest(owner).kek != nullptr; }

RowKey Keyring::KeyOf(std::uint8_t table, const RowNames& names) const {
  std::vector<std::string_view> all{names.project, names.component};
  all.insert(all.end(), names.rest.begin(), names.rest.end());
  const std::span<const std::string_view> fields(all);
  std::vector<std::uint8_t> bytes{table};
  Append(bytes, state_->RowTag(kRowProjectLabel, table, fields.first(1), kProjectTagSize));
  Append(bytes, state_->RowTag(kRowPairLabel, table, fields.first(2), kPairTagSize));
  Append(bytes, state_->RowTag(kRowNamesLabel, table, fields, kNamesTagSize));
  RowKey key;
  std::ranges::copy(bytes, key.bytes.begin());
  return key;
}

std::vector<std::uint8_t> Keyring::PrefixOf(std::uint8_t table, std::string_view project,
                                            std::string_view component) const {
  std::vector<std::uint8_t> prefix{table};
  if (project.empty()) return prefix;
  const std::array names{project, component};
  const std::span<const std::string_view> fields(names);
  Append(prefix, state_->RowTag(kRowProjectLabel, table, fields.first(1), kProjectTagSize));
  if (component.empty()) return prefix;
  Append(prefix, state_->RowTag(kRowPairLabel, table, fields, kPairTagSize));
  return prefix;
}

Result<SealedRow> Keyring::Seal(const Owner& owner, const RowKey& key,
                                std::uint64_t record_version, const PlainParts& parts) const {
  const State::Found newest = state_->Newest(owner);
  if (!newest.kek) return Fail(Code::kNotFound, "the owner has no key");
  return SealRow(*newest.kek, newest.version, state_->file.vault, key, record_version, parts);
}

Result<SecretBytes> Keyring::Open(const Owner& owner, const RowKey& key, const SealedRow& row,
                                  Part part) const {
  SecretBytes plain(row.PlainSize(part));
  Result<void> opened = plain.Fill([&](std::span<std::uint8_t> bytes) {
    return OpenInto(owner, key, row, part, bytes);
  });
  if (!opened) return Fail(std::move(opened));
  return plain;
}

Result<void> Keyring::OpenInto(const Owner& owner, const RowKey& key, const SealedRow& row,
                               Part part, std::span<std::uint8_t> plain) const {
  const std::shared_ptr<const Kek> kek = state_->Find(owner, row.KekVersion());
  if (!kek) {
    Wipe(plain);
    return Fail(Code::kCorrupt, "the owner has no key of the row's version",
                Subject::Number(row.KekVersion()));
  }
  return OpenPartInto(*kek, state_->file.vault, key, row, part, plain);
}

const SecretBytes& Keyring::AuditKey() const { return state_->named[kAudit]; }
const SecretBytes& Keyring::FingerprintKey() const { return state_->named[kFingerprint]; }
const SecretBytes& Keyring::ManifestKey() const { return state_->named[kManifest]; }

}  // namespace oauthvault::crypto
