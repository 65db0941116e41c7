#include "daemon/rpc/operations_service.h"

#include <sodium.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "crypto/hex.h"
#include "crypto/locked_memory.h"
#include "crypto/slots.h"
#include "daemon/upkeep/backup.h"
#include "daemon/upkeep/shredding.h"

namespace oauthvault::rpc {
namespace {

struct KindWord {
  crypto::SlotKind kind;
  const char* word;
};
constexpr KindWord kKindWords[] = {
    {crypto::SlotKind::kKeyFile, "key_file"},
    {crypto::SlotKind::kPassphrase, "passphrase"},
    {crypto::SlotKind::kShares, "shares"},
};

void Write(const crypto::Slot& slot, v1::Slot& message) {
  message.set_id(slot.id);
  message.set_label(slot.label);
  for (const KindWord& known : kKindWords) {
    if (known.kind == slot.kind) message.set_kind(known.word);
  }
  if (slot.kind == crypto::SlotKind::kShares) {
    message.set_threshold(slot.shares.threshold);
    message.set_total(slot.shares.total);
  }
}

// The texts are secrets of people. They stand in a message, as they are shown once and on purpose;
// the message's memory is wiped when it is freed.
void Write(const crypto::AddedSlot& added, v1::AddSlotResponse& message) {
  Write(added.slot, *message.mutable_slot());
  for (const crypto::SecretBytes& text : added.texts) {
    text.Expose([&](std::span<const std::uint8_t> bytes) {
      message.add_texts(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    });
  }
}

void Write(const storage::Backup& backup, v1::BackupInfo& message) {
  message.set_folder(backup.folder);
  message.set_at_s(backup.at_s);
  message.set_restore_epoch(backup.position.epoch);
  message.set_generation(backup.position.generation);
  message.set_rows(backup.rows);
  message.set_size_bytes(backup.size_bytes);
}

Result<crypto::NewSlot> SlotOf(const v1::AddSlotRequest& asked) {
  crypto::NewSlot wanted;
  for (const KindWord& known : kKindWords) {
    if (asked.kind() != known.word) continue;
    wanted.kind = known.kind;
    wanted.label = asked.label();
    wanted.passphrase = crypto::SecretBytes::CopyOf(asked.passphrase());
    // What does not fit is out of bounds, too.
    wanted.threshold = static_cast<std::uint8_t>(std::min(asked.threshold(), 255u));
    wanted.total = static_cast<std::uint8_t>(std::min(asked.total(), 255u));
    return wanted;
  }
  return Fail(Code::kInvalid, "a slot's kind is key_file, passphrase or shares");
}

// The owner of a key that is to be rotated; nullopt: the root.
Result<std::optional<crypto::Owner>> OwnerOf(const v1::RotateKeysRequest& asked) {
  switch (asked.owner_case()) {
    case v1::RotateKeysRequest::kRoot: return std::optional<crypto::Owner>();
    case v1::RotateKeysRequest::kVault: return std::optional(crypto::Owner::Vault());
    case v1::RotateKeysRequest::kProject: {
      auto id = ProjectId::Parse(asked.project());
      if (!id) return Fail(std::move(id));
      return std::optional(crypto::Owner::Project(id->Str()));
    }
    case v1::RotateKeysRequest::kComponent: {
      auto id = ComponentId::Parse(asked.component());
      if (!id) return Fail(std::move(id));
      return std::optional(crypto::Owner::Component(id->Str()));
    }
    case v1::RotateKeysRequest::OWNER_NOT_SET: break;
  }
  return Fail(Code::kInvalid, "name whose key: the root, the vault, a project or a component");
}

// Holds the mutex, or says that somebody else does.
Result<std::unique_lock<std::mutex>> Alone(std::mutex& mutex) {
  std::unique_lock lock(mutex, std::try_to_lock);
  if (!lock.owns_lock()) {
    return Fail(Code::kConflict,
                "a backup, a check, a shredding or a new root is under way; try again later");
  }
  return lock;
}

}  // namespace

void Write(const Counters& counters, v1::EdgeStatus& message) {
  message.set_connections_open(counters.tcp.open);
  message.set_handshakes_under_way(counters.tcp.young);
  message.set_connections_accepted(counters.tcp.accepted);
  message.set_refused_in_all(counters.tcp.refused_in_all);
  message.set_refused_of_address(counters.tcp.refused_of_address);
  message.set_refused_at_handshake(counters.tcp.refused_at_handshake);
  message.set_refused_without_descriptor(counters.tcp.refused_without_descriptor);
  message.set_calls_under_way(counters.calls.under_way);
  message.set_calls_too_many(counters.calls.too_many);
  message.set_calls_out_of_bounds(counters.calls.out_of_bounds);
  message.set_calls_too_late(counters.calls.too_late);
}

Result<void> OperationsService::WriteFacts(v1::StatusResponse& answer) const {
  auto fill = parts_.store.GetEngine().GetFill();
  if (!fill) return Fail(std::move(fill));
  auto anchor = parts_.store.GetAnchor();
  if (!anchor) return Fail(std::move(anchor));
  answer.set_vault_id(crypto::HexOf(parts_.keyring.Id()));
  answer.set_generation(parts_.store.GetEngine().Generation());
  answer.set_restore_epoch(anchor->position.epoch);
  answer.set_audit_sequence(edge_.GetTrail().LastSequence());
  answer.set_store_used_bytes(fill->used_bytes);
  answer.set_store_capacity_bytes(fill->capacity_bytes);
  answer.set_store_create_limit_bytes(fill->create_limit_bytes);
  answer.set_read_only(fill->read_only);
  answer.set_rows(anchor->all.rows);
  answer.set_started_at_s(facts_.started_at_s);
  answer.set_root_epoch(parts_.keyring.RootEpoch());
  answer.set_address(facts_.address);
  answer.set_keys_locked(crypto::KeysAreLocked());
  const upkeep::LastCheck::State check = parts_.last_check.Get();
  answer.set_check(check.word);
  answer.set_checked_at_s(check.at_s);
  Write(parts_.counters, *answer.mutable_edge());
  return {};
}

// What opens the vault changes only behind a line that is durable; a second one says what it
// became.
Result<void> OperationsService::RecordFirst(const Admitted& admitted, std::string object) const {
  audit::Entry entry = admitted.entry;
  entry.object = "begin " + std::move(object);
  entry.outcome = audit::Outcome::kAllowed;
  auto recorded = edge_.GetTrail().RecordAndWait(std::move(entry));
  if (!recorded) return Fail(std::move(recorded));
  return {};
}

// The second line where the answer holds a slot's secret. The first one is what the change needed;
// without this one the answer leaves all the same, for nobody could have the secret once more.
void OperationsService::RecordNewSlot(Admitted& admitted, std::string object) const {
  admitted.recorded = true;
  admitted.entry.object = std::move(object);
  admitted.entry.outcome = audit::Outcome::kAllowed;
  auto recorded = edge_.GetTrail().RecordAndWait(admitted.entry);
  if (!recorded) {
    spdlog::error("no second audit line about a new slot act={} object=\"{}\": {}",
                  admitted.entry.act, admitted.entry.object, recorded.error().GetText());
  }
}

void OperationsService::AddTo(Methods& methods) {
  methods.Add("Operations.Status", *this, &OperationsService::Status);
  methods.Add("Operations.Unseal", *this, &OperationsService::Unseal);
  methods.Add("Operations.Seal", *this, &OperationsService::Seal);
  methods.Add("Operations.ListSlots", *this, &OperationsService::ListSlots);
  methods.Add("Operations.AddSlot", *this, &OperationsService::AddSlot);
  methods.Add("Operations.ReissueSlot", *this, &OperationsService::ReissueSlot);
  methods.Add("Operations.RemoveSlot", *this, &OperationsService::RemoveSlot);
  methods.Add("Operations.RotateKeys", *this, &OperationsService::RotateKeys);
  methods.Add("Operations.Rewrap", *this, &OperationsService::Rewrap);
  methods.Add("Operations.KeysStatus", *this, &OperationsService::KeysStatus);
  methods.Add("Operations.Backup", *this, &OperationsService::Backup);
  methods.Add("Operations.ListBackups", *this, &OperationsService::ListBackups);
  methods.Add("Operations.Check", *this, &OperationsService::Check);
  methods.Add("Operations.ShredProject", *this, &OperationsService::ShredProject);
}

void OperationsService::Status(Call& call) {
  edge_.Serve<v1::StatusRequest, v1::StatusResponse>(
      call, workers_, [this](Admitted& admitted, const auto&, auto& answer) -> Result<void> {
        answer.set_version(facts_.version);
        answer.set_sealed(false);
        answer.set_principal(admitted.caller.who.Str());
        answer.set_trust_domain(facts_.trust_domain);
        // The rest only for those who may operate; no line about who may not, it was not asked for.
        if (!access::Decide(admitted.caller.who, access::Right::kOperate, access::Scope::Vault(),
                            *parts_.grants.InForce())) {
          return {};
        }
        return WriteFacts(answer);
      });
}

void OperationsService::Unseal(Call& call) {
  edge_.Serve<v1::UnsealRequest, v1::UnsealResponse>(
      call, workers_, [](Admitted&, const auto&, auto&) -> Result<void> {
        return Fail(Code::kConflict, "the vault is not sealed");
      });
}

// The line is durable, and the answer on its way, before the sealing begins.
void OperationsService::Seal(Call& call) {
  edge_.Serve<v1::SealRequest, v1::SealResponse>(
      call, workers_, [this](Admitted& admitted, const auto&, auto&) -> Result<void> {
        admitted.entry.outcome = audit::Outcome::kAllowed;
        auto recorded = edge_.GetTrail().RecordAndWait(admitted.entry);
        if (!recorded) return Fail(std::move(recorded));
        admitted.recorded = true;
        seal_();
        return {};
      });
}

void OperationsService::ListSlots(Call& call) {
  edge_.Serve<v1::ListSlotsRequest, v1::ListSlotsResponse>(
      call, workers_, [this](Admitted&, const auto&, auto& answer) -> Result<void> {
        for (const crypto::Slot& slot : parts_.keyring.Slots()) {
          Write(slot, *answer.add_slots());
        }
        return {};
      });
}

void OperationsService::AddSlot(Call& call) {
  edge_.Serve<v1::AddSlotRequest, v1::AddSlotResponse>(
      call, workers_, [this](Admitted& admitted, const auto& asked, auto& answer) -> Result<void> {
        auto wanted = SlotOf(asked);
        if (!wanted) return Fail(std::move(wanted));
        if (auto told = RecordFirst(admitted, asked.kind()); !told) return told;
        auto added = parts_.keyring.AddSlot(*wanted);
        if (!added) return Fail(std::move(added));
        RecordNewSlot(admitted, "slot:" + std::to_string(added->slot.id) + " " + asked.kind());
        Write(*added, answer);
        return {};
      });
}

void OperationsService::ReissueSlot(Call& call) {
  edge_.Serve<v1::ReissueSlotRequest, v1::AddSlotResponse>(
      call, workers_, [this](Admitted& admitted, const auto& asked, auto& answer) -> Result<void> {
        const std::string from = "slot:" + std::to_string(asked.id());
        admitted.entry.object = from;
        if (auto told = RecordFirst(admitted, from); !told) return told;
        auto added = parts_.keyring.ReissueSlot(
            asked.id(), crypto::SecretBytes::CopyOf(asked.passphrase()));
        if (!added) return Fail(std::move(added));
        RecordNewSlot(admitted, from + " slot:" + std::to_string(added->slot.id));
        Write(*added, answer);
        return {};
      });
}

void OperationsService::RemoveSlot(Call& call) {
  edge_.Serve<v1::RemoveSlotRequest, v1::RemoveSlotResponse>(
      call, workers_, [this](Admitted& admitted, const auto& asked, auto&) -> Result<void> {
        const std::string slot = "slot:" + std::to_string(asked.id());
        admitted.entry.object = slot;
        if (auto told = RecordFirst(admitted, slot); !told) return told;
        return parts_.keyring.RemoveSlot(asked.id());
      });
}

void OperationsService::RotateKeys(Call& call) {
  edge_.Serve<v1::RotateKeysRequest, v1::RotateKeysResponse>(
      call, workers_, [this](Admitted& admitted, const auto& asked, auto& answer) -> Result<void> {
        auto owner = OwnerOf(asked);
        if (!owner) return Fail(std::move(owner));
        Result<std::uint32_t> version = 0;
        if (*owner) {
          admitted.entry.object = TextOf(**owner);
          version = parts_.rewrapper.Rotate(**owner, admitted.ForCommit());
        } else {
          admitted.entry.object = "root";
          auto alone = Alone(parts_.alone);
          if (!alone) return Fail(std::move(alone));
          if (auto told = RecordFirst(admitted, "root"); !told) return told;
          version = parts_.keyring.RotateRoot();
          if (version) {
            admitted.entry.object = "root epoch:" + std::to_string(*version);
          }
        }
        if (!version) return Fail(std::move(version));
        answer.set_version(*version);
        return {};
      });
}

void OperationsService::Rewrap(Call& call) {
  edge_.Serve<v1::RewrapRequest, v1::RewrapResponse>(
      call, workers_, [this](Admitted& admitted, const auto&, auto& answer) -> Result<void> {
        auto owners = parts_.rewrapper.RewrapAll(admitted.entry);
        if (!owners) return Fail(std::move(owners));
        // Each owner's line stands; where there is none, this call gets its own.
        admitted.recorded = *owners != 0;
        answer.set_owners(*owners);
        return {};
      });
}

void OperationsService::KeysStatus(Call& call) {
  edge_.Serve<v1::KeysStatusRequest, v1::KeysStatusResponse>(
      call, workers_, [this](Admitted&, const auto&, auto& answer) -> Result<void> {
        const crypto::KeyCounts counts = parts_.keyring.Counts();
        answer.set_root_epoch(counts.epoch);
        answer.set_slots(static_cast<std::uint32_t>(counts.slots));
        answer.set_projects(static_cast<std::uint32_t>(counts.projects));
        answer.set_components(static_cast<std::uint32_t>(counts.components));
        answer.set_keys(static_cast<std::uint32_t>(counts.keks));
        for (const auto& job : parts_.rewrapper.Running()) {
          v1::Rewrapping* running = answer.add_rewrapping();
          running->set_owner(TextOf(job.owner));
          running->set_version(job.version);
          running->set_looked_at(job.looked_at);
          running->set_rewrapped(job.rewrapped);
          running->set_started_at_s(job.started_at_s);
        }
        return {};
      });
}

void OperationsService::Backup(Call& call) {
  edge_.Serve<v1::BackupRequest, v1::BackupInfo>(
      call, slow_workers_,
      [this](Admitted& admitted, const auto& asked, auto& answer) -> Result<void> {
        auto alone = Alone(parts_.alone);
        if (!alone) return Fail(std::move(alone));
        auto backup =
            upkeep::MakeBackup(asked.folder(), parts_.store, parts_.keyring,
                               admitted.ForCommit(), edge_.NowS(),
                               [this] { return breaking_off_.load(); });
        if (!backup) return Fail(std::move(backup));
        Write(*backup, answer);
        return {};
      });
}

void OperationsService::ListBackups(Call& call) {
  edge_.Serve<v1::ListBackupsRequest, v1::ListBackupsResponse>(
      call, workers_, [this](Admitted&, const auto& asked, auto& answer) -> Result<void> {
        auto page = parts_.store.template List<storage::Backup>(
            "", "", asked.page_token(), asked.page_size());
        if (!page) return Fail(std::move(page));
        for (const auto& stored : page->rows) {
          Write(stored.row, *answer.add_backups());
        }
        answer.set_next_page_token(page->next);
        return {};
      });
}

void OperationsService::Check(Call& call) {
  edge_.Serve<v1::CheckRequest, v1::CheckResponse>(
      call, slow_workers_, [this](Admitted&, const auto&, auto& answer) -> Result<void> {
        auto alone = Alone(parts_.alone);
        if (!alone) return Fail(std::move(alone));
        auto fill = parts_.store.GetEngine().GetFill();
        if (!fill) return Fail(std::move(fill));
        parts_.last_check.Begin();
        auto checked = upkeep::RunLiveCheck(facts_.store_folder, facts_.keys_file, parts_.keyring,
                                            upkeep::CheckPatience(fill->capacity_bytes),
                                            [this] { return breaking_off_.load(); });
        parts_.last_check.End(checked, edge_.NowS());
        if (!checked) return Fail(std::move(checked));
        answer.set_whole(checked->verdict == upkeep::CheckResult::Verdict::kWhole);
        answer.set_rows(checked->rows);
        answer.set_generation(checked->position.generation);
        for (const auto& problem : checked->problems) {
          v1::CheckProblem* one = answer.add_problems();
          one->set_what(problem.what);
          one->set_row_key(problem.row_key);
        }
        return {};
      });
}

void OperationsService::ShredProject(Call& call) {
  edge_.Serve<v1::ShredProjectRequest, v1::ShredProjectResponse>(
      call, slow_workers_,
      [this](Admitted& admitted, const auto& asked, auto& answer) -> Result<void> {
        auto id = ProjectId::Parse(asked.id());
        if (!id) return Fail(std::move(id));
        if (asked.confirm() != asked.id()) {
          return Fail(Code::kInvalid, "shredding is for ever: name the project once more", *id);
        }
        admitted.entry.project = id->Str();
        auto alone = Alone(parts_.alone);
        if (!alone) return Fail(std::move(alone));
        auto shredded = upkeep::ShredProject(parts_.keyring, parts_.store, parts_.grants, *id,
                                             admitted.ForCommit(), edge_.NowS());
        if (!shredded) return Fail(std::move(shredded));
        answer.set_keys(shredded->keys);
        answer.set_credentials(shredded->credentials);
        answer.set_attempts(shredded->attempts);
        answer.set_connections(shredded->connections);
        answer.set_grants(shredded->grants);
        for (const storage::Backup& backup : shredded->open_backups) {
          Write(backup, *answer.add_open_backups());
        }
        for (const storage::Connection& connection : shredded->live_connections) {
          auto* live = answer.add_live_connections();
          live->set_account(connection.account.Str());
          live->set_connection_id(connection.connection_id);
          live->set_name(connection.name);
        }
        return {};
      });
}

}  // namespace oauthvault::rpc
