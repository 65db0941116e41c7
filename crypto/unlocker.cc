#include "crypto/unlocker.h"

#include <algorithm>
#include <span>
#include <string_view>

#include "crypto/fields.h"
#include "crypto/keys_file.h"
#include "crypto/slots.h"

namespace oauthvault::crypto {
namespace {

using Bytes = std::span<const std::uint8_t>;

// More than the longest passphrase with its end.
constexpr std::size_t kMaxLine = kMostPassphrase + 2;

std::string_view WithoutEnd(std::string_view line) {
  if (line.ends_with('\n')) line.remove_suffix(1);
  if (line.ends_with('\r')) line.remove_suffix(1);
  return line;
}

}  // namespace

Result<Unlocker> Unlocker::Read(const std::filesystem::path& keys_file) {
  Result<StoredKeys> stored = StoredKeys::Read(keys_file);
  if (!stored) return Fail(std::move(stored));
  return Unlocker(keys_file);
}

Result<Unlocker::Progress> Unlocker::Give(const SecretBytes& text) {
  if (progress_.open) return progress_;
  if (text.Size() > kMaxLine) {
    return Fail(Code::kInvalid, "the text is longer than a key, a share or a passphrase");
  }
  return text.Expose([&](Bytes bytes) -> Result<Progress> {
    const std::string_view line = WithoutEnd(AsField(bytes));
    if (LooksLikeKeyLine(line)) return GiveKeyLine(line);
    if (LooksLikeShare(line)) return GiveShare(line);
    return GivePassphrase(SecretBytes::CopyOf(line));
  });
}

Result<Unlocker::Progress> Unlocker::GiveKeyLine(std::string_view line) {
  Result<SlotSecret> secret = ParseKeyLine(line);
  if (!secret) return Fail(std::move(secret));
  Result<StoredKeys> stored = StoredKeys::Read(path_);
  if (!stored) return Fail(std::move(stored));
  const SlotPublicKey public_key = PublicKeyOf(*secret);
  for (const Slot& slot : stored->File().slots) {
    if (slot.kind != SlotKind::kKeyFile || slot.public_key != public_key) continue;
    return OpenWith(slot, stored->File().vault, *secret);
  }
  return Fail(Code::kDenied, "the key opens no slot of the vault");
}

Result<Unlocker::Progress> Unlocker::GivePassphrase(const SecretBytes& passphrase) {
  Result<StoredKeys> stored = StoredKeys::Read(path_);
  if (!stored) return Fail(std::move(stored));
  for (const Slot& slot : stored->File().slots) {
    if (slot.kind != SlotKind::kPassphrase) continue;
    Result<SlotSecret> secret = StretchPassphrase(passphrase, slot.passphrase);
    if (!secret) return Fail(std::move(secret));
    if (PublicKeyOf(*secret) != slot.public_key) continue;
    return OpenWith(slot, stored->File().vault, *secret);
  }
  return Fail(Code::kDenied, "the passphrase opens no slot of the vault");
}

Result<Unlocker::Progress> Unlocker::GiveShare(std::string_view line) {
  Result<Share> share = ParseShare(line, static_cast<unsigned>(shares_.size() + 1));
  if (!share) return Fail(std::move(share));
  Result<StoredKeys> stored = StoredKeys::Read(path_);
  if (!stored) return Fail(std::move(stored));
  const std::vector<Slot>& slots = stored->File().slots;
  const auto slot = std::ranges::find_if(slots, [&](const Slot& one) {
    return one.kind == SlotKind::kShares && one.shares == share->parameters;
  });
  if (slot == slots.end()) {
    return Fail(Code::kDenied, "the share belongs to no slot of the vault", share->Name());
  }
  const bool given = std::ranges::any_of(shares_, [&](const Share& one) {
    return one.parameters == share->parameters && one.index == share->index &&
           one.payload.Equals(share->payload);
  });
  if (given) return Fail(Code::kConflict, "the share was given already", share->Name());
  if (shares_.size() >= kMostShares) {
    return Fail(Code::kExhausted, "no more shares are kept: begin anew with right ones",
                Subject::Number(kMostShares));
  }
  // Those of one set side by side at the end.
  const ShareParameters parameters = share->parameters;
  shares_.push_back(std::move(*share));
  const auto set = std::stable_partition(
      shares_.begin(), shares_.end(),
      [&](const Share& one) { return one.parameters != parameters; });
  const std::span<const Share> together(set, shares_.end());
  progress_.shares_given = static_cast<unsigned>(together.size());
  progress_.shares_needed = parameters.threshold;
  if (progress_.shares_given < progress_.shares_needed) return progress_;

  std::optional<JoinedShares> joined = JoinShares(together, [&](const SecretBytes& secret) {
    return PublicKeyOf(SlotSecret(secret.Clone())) == slot->public_key;
  });
  if (!joined) {
    return Fail(Code::kDenied, "the shares do not fit together, one is wrong: give another",
                Subject::Number(progress_.shares_given));
  }
  Result<Progress> opened =
      OpenWith(*slot, stored->File().vault, SlotSecret(std::move(joined->secret)));
  if (!opened) return opened;
  progress_.wrong_shares = std::move(joined->wrong);
  return progress_;
}

Result<Unlocker::Progress> Unlocker::OpenWith(const Slot& slot, const VaultId& vault,
                                              const SlotSecret& secret) {
  Result<RootKey> root = OpenRootWith(slot, vault, secret);
  if (!root) return Fail(std::move(root));
  root_ = std::move(*root);
  progress_.open = true;
  return progress_;
}

Result<std::unique_ptr<Keyring>> Unlocker::Take() {
  if (!progress_.open) return Fail(Code::kSealed, "the vault needs more to be opened");
  Result<SecretBytes> root = root_.Bytes().CloneKey();
  if (!root) return Fail(std::move(root));
  shares_.clear();
  return Keyring::Unlock(path_, RootKey(std::move(*root)));
}

}  // namespace oauthvault::crypto
