#include "crypto/keys_file.h"

#include <sodium.h>

#include <algorithm>
#include <concepts>
#include <optional>
#include <string>
#include <utility>

#include "crypto/durable_file.h"
#include "crypto/fields.h"

namespace oauthvault::crypto {
namespace {

using Bytes = std::span<const std::uint8_t>;

// ENVELOPE.md, "The keys file".
constexpr std::string_view kMagic = "OVKEYS";
constexpr std::uint16_t kFormat = 1;
constexpr std::size_t kMacSize = 32;
constexpr std::size_t kMaxFileSize = std::size_t{1} << 25;

constexpr std::string_view kMacKeyLabel = "oauthvault/keys/mac-key";
constexpr std::string_view kMacLabel = "oauthvault/keys/mac";
constexpr std::string_view kNamedLabel = "oauthvault/keys/named";
constexpr std::string_view kKekLabel = "oauthvault/keys/kek";

constexpr std::array<std::string_view, kNamedKeys> kKeyNames{"index", "audit", "fingerprint",
                                                             "manifest"};

// A KEK's name as it stands in the file; the wrap is bound to it.
constexpr std::size_t kKekNameSize = 1 + kOwnerTagSize + sizeof(std::uint32_t);
using KekNameBytes = std::array<std::uint8_t, kKekNameSize>;

KekNameBytes BytesOf(const KekName& name) {
  KekNameBytes bytes{static_cast<std::uint8_t>(name.owner.kind)};
  std::ranges::copy(name.owner.tag, bytes.begin() + 1);
  std::ranges::copy(LittleEndian(name.version), bytes.begin() + 1 + kOwnerTagSize);
  return bytes;
}

std::vector<std::uint8_t> MacOf(const RootKey& root, Bytes body) {
  const SecretBytes key = DeriveKey(root.Bytes(), std::array{kMacKeyLabel});
  return KeyedHash(key, std::array{kMacLabel, AsField(body)}, kMacSize);
}

// A field of up to 255 bytes behind its size.
void AppendSized(std::vector<std::uint8_t>& out, Bytes bytes) {
  out.push_back(static_cast<std::uint8_t>(bytes.size()));
  Append(out, bytes);
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
  Bytes TakeSized() { return Take(Number<std::uint8_t>()); }
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
  slot.label = std::string(AsField(in.TakeSized()));
  const bool known = ReadParameters(slot, in.TakeSized());
  slot.public_key = in.Array<kKeySize>();
  slot.ephemeral_key = in.Array<kKeySize>();
  slot.root = in.Array<kWrappedKeySize>();
  if (!in.Complete() || !IsSlotLabel(slot.label)) {
    return Fail(Code::kCorrupt, "the keys file holds an impossible slot",
                Subject::Number(slot.id));
  }
  if (!known) {
    return Fail(Code::kCorrupt, "the keys file holds a slot of an unknown kind or out of bounds",
                Subject::Number(slot.id));
  }
  if (IsOfLowOrder(slot.public_key) || IsOfLowOrder(slot.ephemeral_key)) {
    return Fail(Code::kCorrupt, "the keys file holds a slot with a point of low order",
                Subject::Number(slot.id));
  }
  return slot;
}

Result<void> ReadSlots(Reader& in, KeysFile& file) {
  const std::size_t slots = in.Number<std::uint8_t>();
  if (!in.Complete() || slots == 0 || slots > kMaxSlots) {
    return Fail(Code::kCorrupt, "the keys file holds an impossible number of slots");
  }
  std::uint32_t previous = 0;
  for (std::size_t i = 0; i < slots; ++i) {
    Result<Slot> slot = ReadSlot(in);
    if (!slot) return Fail(std::move(slot));
    if (slot->id <= previous || slot->id >= file.next_slot) {
      return Fail(Code::kCorrupt, "the slots of the keys file are not in order",
                  Subject::Number(slot->id));
    }
    previous = slot->id;
    file.slots.push_back(std::move(*slot));
  }
  return {};
}

Result<void> ReadKeks(Reader& in, KeysFile& file) {
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
    // One order, so that the same keys have one spelling.
    const bool ascending = file.keks.empty() || name > file.keks.rbegin()->first;
    if (!in.Complete() || !known || name.version == 0 || !ascending) {
      return Fail(Code::kCorrupt, "the keys file holds an impossible key");
    }
    file.keks.emplace_hint(file.keks.end(), name, key);
  }
  return {};
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
  file.changes = in.Number<std::uint64_t>();
  file.epoch = in.Number<std::uint32_t>();
  file.next_slot = in.Number<std::uint32_t>();
  if (in.Complete() && (file.epoch == 0 || file.changes == 0)) {
    return Fail(Code::kCorrupt, "the keys file has a root epoch or a change number of zero");
  }
  if (Result<void> read = ReadSlots(in, file); !read) return Fail(std::move(read));
  for (WrappedKey& key : file.named) key = in.Array<kWrappedKeySize>();
  if (Result<void> read = ReadKeks(in, file); !read) return Fail(std::move(read));
  if (!in.AtEnd()) return Fail(Code::kCorrupt, "the keys file holds more than it says");
  return file;
}

}  // namespace

std::vector<std::uint8_t> Serialize(const KeysFile& file, const RootKey& root) {
  std::vector<std::uint8_t> out;
  Append(out, AsBytes(kMagic));
  Append(out, LittleEndian(kFormat));
  Append(out, file.vault);
  Append(out, LittleEndian(file.changes));
  Append(out, LittleEndian(file.epoch));
  Append(out, LittleEndian(file.next_slot));
  out.push_back(static_cast<std::uint8_t>(file.slots.size()));
  for (const Slot& slot : file.slots) {
    Append(out, LittleEndian(slot.id));
    out.push_back(static_cast<std::uint8_t>(slot.kind));
    AppendSized(out, AsBytes(slot.label));
    AppendSized(out, ParametersOf(slot));
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

Result<StoredKeys> StoredKeys::Read(const std::filesystem::path& path) {
  Result<SecretBytes> content = ReadFileBytes(path, kMaxFileSize, FileAccess::kAny);
  if (!content) return Fail(std::move(content));
  Result<KeysFile> file = content->Expose([&](Bytes bytes) -> Result<KeysFile> {
    if (bytes.size() < kMacSize) return Fail(Code::kInvalid, "the keys file is too short");
    return ParseBody(bytes.first(bytes.size() - kMacSize));
  });
  if (!file) return Fail(std::move(file));
  return StoredKeys(std::move(*content), std::move(*file));
}

Result<void> StoredKeys::Verify(const RootKey& root) const {
  return content_.Expose([&](Bytes bytes) -> Result<void> {
    const std::vector<std::uint8_t> mac = MacOf(root, bytes.first(bytes.size() - kMacSize));
    if (sodium_memcmp(mac.data(), bytes.last(kMacSize).data(), kMacSize) != 0) {
      return Fail(Code::kCorrupt, "the MAC of the keys file does not verify");
    }
    return {};
  });
}

RootBinding::RootBinding(const KeysFile& file)
    : vault_(AsField(file.vault)), epoch_(LittleEndian(file.epoch)) {}

std::array<std::string_view, 4> RootBinding::Fields(std::string_view label,
                                                    std::string_view name) const {
  return {label, vault_, AsField(epoch_), name};
}

WrappedKey RootBinding::WrapNamed(const RootKey& root, NamedKey key,
                                  const SecretBytes& value) const {
  return WrapKey(root.Bytes(), value, Fields(kNamedLabel, kKeyNames[key]));
}

WrappedKey RootBinding::WrapKek(const RootKey& root, const KekName& name,
                                const SecretBytes& kek) const {
  const KekNameBytes bytes = BytesOf(name);
  return WrapKey(root.Bytes(), kek, Fields(kKekLabel, AsField(bytes)));
}

Result<SecretBytes> RootBinding::UnwrapNamed(const RootKey& root, NamedKey key,
                                             const WrappedKey& wrapped) const {
  return UnwrapKey(root.Bytes(), wrapped, Fields(kNamedLabel, kKeyNames[key]));
}

Result<SecretBytes> RootBinding::UnwrapKek(const RootKey& root, const KekName& name,
                                           const WrappedKey& wrapped) const {
  const KekNameBytes bytes = BytesOf(name);
  return UnwrapKey(root.Bytes(), wrapped, Fields(kKekLabel, AsField(bytes)));
}

}  // namespace oauthvault::crypto
