#include "storage/tables/store.h"

#include <sodium.h>

#include <algorithm>
#include <span>

namespace oauthvault::storage {
namespace {

constexpr int kTokenVariant = sodium_base64_VARIANT_URLSAFE_NO_PADDING;

std::string TokenOf(const crypto::RowKey& key) {
  std::string token(sodium_base64_ENCODED_LEN(crypto::kRowKeySize, kTokenVariant), '\0');
  sodium_bin2base64(token.data(), token.size(), key.bytes.data(), key.bytes.size(), kTokenVariant);
  token.pop_back();  // the terminating zero
  return token;
}

Result<crypto::RowKey> KeyIn(std::string_view token, std::span<const std::uint8_t> prefix) {
  crypto::RowKey key;
  std::size_t size_bytes = 0;
  const char* end = nullptr;
  if (sodium_base642bin(key.bytes.data(), key.bytes.size(), token.data(), token.size(), nullptr,
                        &size_bytes, &end, kTokenVariant) != 0 ||
      end != token.data() + token.size() || size_bytes != key.bytes.size()) {
    return Fail(Code::kInvalid, "the page token is not one that a listing gave");
  }
  // A token of another listing would begin somewhere before or behind all rows of this one.
  if (!std::equal(prefix.begin(), prefix.end(), key.bytes.begin())) {
    return Fail(Code::kInvalid, "the page token belongs to another listing");
  }
  return key;
}

std::string BytesOf(const Act& act) {
  const std::vector<std::uint8_t> bytes = EncodeAct(act);
  return {bytes.begin(), bytes.end()};
}

std::optional<crypto::SecretBytes> CloneOf(const std::optional<crypto::SecretBytes>& secret) {
  if (!secret) return std::nullopt;
  return secret->Clone();
}

}  // namespace

Secrets Secrets::Clone() const { return {CloneOf(data), CloneOf(app_secret)}; }

Result<std::uint64_t> Store::Commit(Batch batch) {
  std::vector<Change> changes;
  std::vector<Change> needed;  // without the rows that only go where there is room
  changes.reserve(batch.pending_.size());
  const bool may_shrink = std::ranges::any_of(batch.pending_, &Batch::Pending::where_room);
  for (Batch::Pending& pending : batch.pending_) {
    Change change{keyring_.KeyOf(static_cast<std::uint8_t>(pending.table), pending.names),
                  pending.expect, std::nullopt};
    if (pending.meta) {
      const crypto::PlainParts parts{std::move(*pending.meta), std::move(pending.secrets.data),
                                     std::move(pending.secrets.app_secret)};
      Result<crypto::SealedRow> sealed =
          keyring_.Seal(pending.owner, change.key, pending.version, parts);
      if (!sealed) return Fail(std::move(sealed));
      change.row = std::move(*sealed);
    }
    if (may_shrink) {
      needed.push_back(pending.where_room ? Change{change.key, Expect{}, std::nullopt} : change);
    }
    changes.push_back(std::move(change));
  }
  Result<std::uint64_t> committed = engine_.Commit(std::move(changes), BytesOf(batch.act_));
  if (!committed && may_shrink && committed.error().GetCode() == Code::kExhausted &&
      committed.error().GetText() != kQueueIsFull.View()) {
    committed = engine_.Commit(std::move(needed), BytesOf(batch.act_));
  }
  if (committed || committed.error().GetCode() == Code::kUnavailable) {
    for (const Batch::Pending& pending : batch.pending_) {
      TellListeners(pending.table, pending.names);
    }
  }
  return committed;
}

void Store::TellListeners(TableId table, const crypto::RowNames& names) const {
  for (const Listener& one : listeners_) {
    if (one.table == table) one.changed(names);
  }
}

Result<RewrapPage> Store::Rewrap(const crypto::Owner& owner, const std::string& page_token,
                                 std::size_t limit, const Act& act) {
  if (limit == 0 || limit > kMaxPageSize) {
    return Fail(Code::kInvalid, "a page of rows to rewrap has 1 to 500");
  }
  const std::vector<std::vector<std::uint8_t>> prefixes = PrefixesOf(owner);
  auto prefix = prefixes.begin();
  std::optional<crypto::RowKey> after;
  if (!page_token.empty()) {
    // A token lies within one of the tables; those before it are done.
    Result<crypto::RowKey> key = Fail(Code::kInvalid, "the owner has no rows of its own");
    for (; prefix != prefixes.end(); ++prefix) {
      key = KeyIn(page_token, *prefix);
      if (key) break;
    }
    if (!key) return Fail(std::move(key));
    after = *key;
  }
  RewrapPage page;
  std::vector<Change> changes;
  Result<std::uint32_t> newest = keyring_.NewestVersion(owner);
  if (!newest) return Fail(std::move(newest));
  for (; prefix != prefixes.end() && page.looked_at < limit; ++prefix, after.reset()) {
    const std::size_t wanted = limit - static_cast<std::size_t>(page.looked_at);
    Result<std::vector<KeyedRow>> rows = engine_.Scan(*prefix, after, wanted);
    if (!rows) return Fail(std::move(rows));
    page.looked_at += rows->size();
    for (KeyedRow& keyed : *rows) {
      if (keyed.row.KekVersion() == *newest) continue;
      Result<crypto::SealedRow> rewrapped = keyring_.Rewrap(owner, keyed.key, keyed.row);
      if (!rewrapped) return Fail(std::move(rewrapped));
      changes.push_back({keyed.key, Expect::Write(keyed.row), std::move(*rewrapped)});
    }
    if (rows->size() == wanted) {
      page.next = TokenOf(rows->back().key);
      break;
    }
  }
  page.rewrapped = changes.size();
  if (Result<void> committed = CommitRewrapped(owner, changes, act); !committed) {
    return Fail(std::move(committed));
  }
  return page;
}

// A row that changed meanwhile must not hold up those beside it, or a store that is written to all
// the time (each commit changes a summary) would never come to an end of its page.
Result<void> Store::CommitRewrapped(const crypto::Owner& owner, std::span<const Change> changes,
                                    const Act& act) {
  if (changes.empty()) return {};
  std::vector<Change> batch(changes.begin(), changes.end());
  Result<std::uint64_t> committed = engine_.Commit(std::move(batch), BytesOf(act));
  if (committed) return {};
  if (committed.error().GetCode() != Code::kConflict) return Fail(std::move(committed));
  if (changes.size() > 1) {
    const std::size_t half = changes.size() / 2;
    Result<void> first = CommitRewrapped(owner, changes.first(half), act);
    if (!first) return first;
    return CommitRewrapped(owner, changes.subspan(half), act);
  }
  Result<std::optional<crypto::SealedRow>> now = ReadOne(changes.front().key);
  if (!now) return Fail(std::move(now));
  Result<std::uint32_t> newest = keyring_.NewestVersion(owner);
  if (!newest) return Fail(std::move(newest));
  // It is gone, or was sealed anew.
  if (!*now || (*now)->KekVersion() == *newest) return {};
  return Fail(std::move(committed));
}

Result<std::uint64_t> Store::RemoveUnopened(TableId table, const ProjectId& project,
                                            std::size_t limit, const Act& act) {
  if (limit == 0 || limit > kMaxPageSize) {
    return Fail(Code::kInvalid, "a page of rows to remove has 1 to 500");
  }
  const std::vector<std::uint8_t> prefix =
      keyring_.PrefixOf(static_cast<std::uint8_t>(table), project.Str(), {});
  Result<std::vector<crypto::RowKey>> keys = engine_.ScanKeys(prefix, std::nullopt, limit);
  if (!keys) return Fail(std::move(keys));
  if (keys->empty()) return 0;
  std::vector<Change> changes;
  for (const crypto::RowKey& key : *keys) changes.push_back({key, Expect{}, std::nullopt});
  Result<std::uint64_t> committed = engine_.Commit(std::move(changes), BytesOf(act));
  if (committed || committed.error().GetCode() == Code::kUnavailable) {
    TellListeners(table, {project.Str(), {}, {}});
  }
  if (!committed) return Fail(std::move(committed));
  return keys->size();
}

// Where the rows of an owner lie. The anchor is not among them: every commit writes it anew.
std::vector<std::vector<std::uint8_t>> Store::PrefixesOf(const crypto::Owner& owner) const {
  std::vector<std::vector<std::uint8_t>> prefixes;
  ForEachRowType([&]<Row R>() {
    if (R::kOwner != owner.kind || R::kTable == TableId::kAnchor) return;
    prefixes.push_back(keyring_.PrefixOf(
        static_cast<std::uint8_t>(R::kTable),
        owner.kind == crypto::OwnerKind::kProject ? std::string_view(owner.name) : "", {}));
  });
  return prefixes;
}

Result<std::optional<crypto::SealedRow>> Store::ReadOne(const crypto::RowKey& key) const {
  Result<std::vector<std::optional<crypto::SealedRow>>> rows = engine_.Read(std::span(&key, 1));
  if (!rows) return Fail(std::move(rows));
  return std::move(rows->front());
}

Result<std::vector<Result<std::optional<crypto::SealedRow>>>> Store::ReadEach(
    std::span<const crypto::RowKey> keys) const {
  std::vector<Result<std::optional<crypto::SealedRow>>> each;
  each.reserve(keys.size());
  Result<std::vector<std::optional<crypto::SealedRow>>> rows = engine_.Read(keys);
  if (rows) {
    for (std::optional<crypto::SealedRow>& row : *rows) each.push_back(std::move(row));
    return each;
  }
  if (rows.error().GetCode() != Code::kCorrupt) return Fail(std::move(rows));
  // One of them is damaged; alone, each says whether it is the one.
  for (const crypto::RowKey& key : keys) {
    Result<std::optional<crypto::SealedRow>> row = ReadOne(key);
    if (!row && row.error().GetCode() != Code::kCorrupt) return Fail(std::move(row));
    each.push_back(std::move(row));
  }
  return each;
}

Result<std::shared_ptr<const Stored<Component>>> Store::FindComponent(const ComponentId& id) const {
  const std::shared_ptr<const Stored<Component>> before = components_.Find(id);
  const crypto::RowNames names = Component::Names(id);
  const crypto::RowKey key =
      before ? before->key
             : keyring_.KeyOf(static_cast<std::uint8_t>(Component::kTable), names);
  Result<std::optional<crypto::SealedRow>> sealed = ReadOne(key);
  if (!sealed) return Fail(std::move(sealed));
  if (!*sealed) return nullptr;
  if (before && std::ranges::equal(before->sealed.Bytes(), (*sealed)->Bytes())) return before;
  Result<Stored<Component>> opened =
      OpenRow<Component>(keyring_, crypto::Owner::Vault(), key, std::move(**sealed), names);
  if (!opened) return Fail(std::move(opened));
  auto shared = std::make_shared<Stored<Component>>(std::move(*opened));
  // Where no more memory can be locked, it is opened each time.
  if (shared->part_key.Lock()) components_.Keep(shared);
  return shared;
}

Result<Store::RawPage> Store::ScanPage(TableId table, std::string_view project,
                                       std::string_view component, std::string_view page_token,
                                       std::size_t page_size, IfDamaged if_damaged) const {
  const std::vector<std::uint8_t> prefix =
      keyring_.PrefixOf(static_cast<std::uint8_t>(table), project, component);
  std::optional<crypto::RowKey> after;
  if (!page_token.empty()) {
    Result<crypto::RowKey> key = KeyIn(page_token, prefix);
    if (!key) return Fail(std::move(key));
    after = *key;
  }
  const std::size_t wanted =
      page_size == 0 ? kDefaultPageSize : std::min(page_size, kMaxPageSize);
  // One more than wanted tells whether a next page has anything.
  static_assert(kMaxPageSize < kMaxScanRows);
  Result<std::vector<KeyedRow>> rows = engine_.Scan(prefix, after, wanted + 1);
  if (!rows && rows.error().GetCode() == Code::kCorrupt && if_damaged == IfDamaged::kPassOver) {
    Result<std::vector<crypto::RowKey>> keys = engine_.ScanKeys(prefix, after, wanted + 1);
    if (!keys) return Fail(std::move(keys));
    return ReadPage(std::move(*keys), wanted);
  }
  if (!rows) return Fail(std::move(rows));
  RawPage page{std::move(*rows), {}};
  if (page.rows.size() > wanted) {
    page.rows.erase(page.rows.begin() + static_cast<std::ptrdiff_t>(wanted), page.rows.end());
    page.next = TokenOf(page.rows.back().key);
  }
  return page;
}

// The page that these keys make, of which one more than wanted tells of a next one.
Result<Store::RawPage> Store::ReadPage(std::vector<crypto::RowKey> keys,
                                       std::size_t wanted) const {
  RawPage page;
  if (keys.size() > wanted) {
    keys.resize(wanted);
    page.next = TokenOf(keys.back());
  }
  Result<std::vector<Result<std::optional<crypto::SealedRow>>>> each = ReadEach(keys);
  if (!each) return Fail(std::move(each));
  for (std::size_t i = 0; i < keys.size(); ++i) {
    Result<std::optional<crypto::SealedRow>>& row = (*each)[i];
    if (!row) ++page.damaged;
    if (row && *row) page.rows.push_back({keys[i], std::move(**row)});
  }
  return page;
}

Result<Secrets> Store::OpenAll(const crypto::HeldPartKey& part_key, const crypto::RowKey& key,
                               const crypto::SealedRow& sealed) const {
  Secrets secrets;
  if (sealed.Has(crypto::Part::kData)) {
    Result<crypto::SecretBytes> data = keyring_.Open(part_key, key, sealed, crypto::Part::kData);
    if (!data) return Fail(std::move(data));
    secrets.data = std::move(*data);
  }
  if (sealed.Has(crypto::Part::kAppSecret)) {
    Result<crypto::SecretBytes> app_secret =
        keyring_.Open(part_key, key, sealed, crypto::Part::kAppSecret);
    if (!app_secret) return Fail(std::move(app_secret));
    secrets.app_secret = std::move(*app_secret);
  }
  return secrets;
}

}  // namespace oauthvault::storage
