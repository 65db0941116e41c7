#include "storage/tables/ledger.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "crypto/fields.h"
#include "storage/tables/open_row.h"

namespace oauthvault::storage {
namespace {

bool IsOfTheLedger(const crypto::RowKey& key) {
  const auto table = static_cast<TableId>(key.bytes[0]);
  return table == TableId::kAnchor || table == TableId::kSummaries;
}

std::string PrefixOf(const crypto::RowKey& key) {
  return {key.bytes.begin(), key.bytes.begin() + kSummaryPrefixSize};
}

}  // namespace

template <Row R>
Result<Ledger::Standing<R>> Ledger::Read(const crypto::RowNames& names, const Look& look) const {
  Standing<R> standing{.key = keyring_.KeyOf(static_cast<std::uint8_t>(R::kTable), names)};
  Result<std::optional<crypto::SealedRow>> sealed = look(standing.key);
  if (!sealed) return Fail(std::move(sealed));
  if (!*sealed) return standing;
  Result<Stored<R>> stored =
      OpenRow<R>(keyring_, crypto::Owner::Vault(), standing.key, std::move(**sealed));
  if (!stored) return Fail(std::move(stored));
  standing.row = std::move(stored->row);
  standing.version = stored->version;
  return standing;
}

template <Row R>
Result<Change> Ledger::Write(const Standing<R>& standing, const R& row) const {
  FieldWriter fields;
  row.Encode(fields);
  Result<crypto::SealedRow> sealed =
      keyring_.Seal(crypto::Owner::Vault(), standing.key, standing.version + 1,
                    {std::move(fields).Take(), std::nullopt, std::nullopt});
  if (!sealed) return Fail(std::move(sealed));
  return Change{standing.key, Expect{}, std::move(*sealed)};
}

Result<void> Ledger::Settle() {
  if (unrecorded_.empty()) return {};
  if (Result<void> recorded = record_(epoch_, unrecorded_); !recorded) return recorded;
  unrecorded_.clear();
  return {};
}

Result<std::vector<Change>> Ledger::Attest(const Transaction& transaction, const Look& look) {
  // An act that nobody can read would never get its line: it stops here, while nothing is durable.
  attested_.clear();
  for (std::size_t i = 0; i < transaction.acts.size(); ++i) {
    Result<Act> act = DecodeAct(crypto::AsBytes(transaction.acts[i]));
    if (!act) return Fail(std::move(act));
    attested_.push_back({transaction.first_generation + i, std::move(*act)});
  }

  Result<Standing<Anchor>> anchor = Read<Anchor>(Anchor::Names(), look);
  if (!anchor) return Fail(std::move(anchor));
  Anchor next = anchor->row.value_or(Anchor{});
  if (next.position.generation + 1 != transaction.first_generation) {
    return Fail(Code::kCorrupt, "the anchor is not of the store's last transaction");
  }
  next.previous = restart_ ? restart_->previous : next.position;
  next.position = {restart_ ? restart_->epoch : next.position.epoch, transaction.last_generation};
  next.key_changes = keyring_.Changes();
  next.acts.assign(transaction.acts.begin(), transaction.acts.end());

  std::map<std::string, Standing<Summary>> summaries;
  for (const Touched& touched : transaction.touched) {
    if (IsOfTheLedger(touched.key)) continue;
    const std::string prefix = PrefixOf(touched.key);
    auto summary = summaries.find(prefix);
    if (summary == summaries.end()) {
      Result<Standing<Summary>> standing = Read<Summary>(Summary::Names(prefix), look);
      if (!standing) return Fail(std::move(standing));
      if (!standing->row) standing->row = Summary{prefix, {}};
      summary = summaries.emplace(prefix, std::move(*standing)).first;
    }
    Tally& rows = summary->second.row->rows;
    if (touched.before) {
      const auto element = keyring_.ElementOf(touched.key, *touched.before);
      rows.TakeOut(element);
      next.all.TakeOut(element);
    }
    if (touched.after) {
      const auto element = keyring_.ElementOf(touched.key, *touched.after);
      rows.Add(element);
      next.all.Add(element);
    }
  }

  std::vector<Change> changes;
  for (const auto& [prefix, standing] : summaries) {
    if (standing.row->rows == Tally{}) {
      if (standing.version != 0) changes.push_back({standing.key, Expect{}, std::nullopt});
      continue;
    }
    Result<Change> change = Write(standing, *standing.row);
    if (!change) return Fail(std::move(change));
    changes.push_back(std::move(*change));
  }
  Result<Change> change = Write(*anchor, next);
  if (!change) return Fail(std::move(change));
  changes.push_back(std::move(*change));
  epoch_ = next.position.epoch;
  return changes;
}

Result<void> Ledger::Announce(const Transaction&) {
  restart_.reset();
  std::ranges::move(attested_, std::back_inserter(unrecorded_));
  attested_.clear();
  return Settle();
}

Result<std::vector<Committed>> CommitsOf(const Anchor& anchor) {
  std::vector<Committed> commits;
  const std::uint64_t count = anchor.acts.size();
  if (count == 0 || count > anchor.position.generation) {
    return Fail(Code::kCorrupt, "the anchor holds an impossible number of acts");
  }
  for (std::uint64_t i = 0; i < count; ++i) {
    Result<Act> act = DecodeAct(crypto::AsBytes(anchor.acts[i]));
    if (!act) return Fail(std::move(act));
    commits.push_back({anchor.position.generation - count + 1 + i, std::move(*act)});
  }
  return commits;
}

}  // namespace oauthvault::storage
