#include <array>
#include <cstdio>

#include "client/session.h"
#include "oauthvault/v1/operations.pb.h"

namespace oauthvault::client {
namespace {

std::string Seal(const v1::StatusResponse& status) {
  if (!status.sealed()) return "no";
  if (status.shares_needed() == 0) return "yes";
  return "yes, " + std::to_string(status.shares_given()) + " of " +
         std::to_string(status.shares_needed()) + " shares given";
}

/// `1.2 MiB of 850.0 MiB (0.1 %), capacity 1.0 GiB`.
std::string Fill(const v1::StatusResponse& status) {
  const std::uint64_t limit = status.store_create_limit_bytes();
  if (limit == 0) return "-";
  const double percent =
      100.0 * static_cast<double>(status.store_used_bytes()) / static_cast<double>(limit);
  std::array<char, 32> part{};
  std::snprintf(part.data(), part.size(), "%.1f", percent);
  std::string fill = RenderSize(status.store_used_bytes()) + " of " + RenderSize(limit) + " (" +
                     part.data() + " %), capacity " + RenderSize(status.store_capacity_bytes());
  if (status.store_used_bytes() >= limit) fill += "; full: only deletes are taken";
  return fill;
}

std::string Check(const v1::StatusResponse& status) {
  if (status.check().empty() || status.checked_at_s() == 0) return status.check();
  return status.check() + ", " + RenderTime(status.checked_at_s());
}

/// The doors, in a line.
std::string Connections(const v1::EdgeStatus& edge) {
  const std::uint64_t refused = edge.refused_in_all() + edge.refused_of_address() +
                                edge.refused_at_handshake() + edge.refused_without_descriptor();
  return std::to_string(edge.connections_open()) + " open, " +
         std::to_string(edge.connections_accepted()) + " accepted, " + std::to_string(refused) +
         " turned away";
}

std::string Calls(const v1::EdgeStatus& edge) {
  return std::to_string(edge.calls_under_way()) + " under way; refused: " +
         std::to_string(edge.calls_too_many()) + " as too many, " +
         std::to_string(edge.calls_out_of_bounds()) + " out of bounds, " +
         std::to_string(edge.calls_too_late()) + " too late";
}

/// Whether the daemon tells about itself: those who may operate, only.
bool Tells(const v1::StatusResponse& status) { return status.started_at_s() != 0; }

/// What is in the store, and what its keys are, nobody knows while it is sealed. That is no zero: a
/// vault with 0 rows has lost them.
nlohmann::ordered_json ForPrograms(const v1::StatusResponse& status) {
  nlohmann::ordered_json told = AsJson(status);
  if (status.sealed() || !Tells(status)) {
    for (const char* field :
         {"vault_id", "generation", "audit_sequence", "store_used_bytes", "store_capacity_bytes",
          "rows", "root_epoch", "restore_epoch", "read_only", "store_create_limit_bytes",
          "keys_locked", "check", "checked_at_s"}) {
      told[field] = nullptr;
    }
  }
  if (!Tells(status)) {
    for (const char* field : {"started_at_s", "address", "edge"}) told[field] = nullptr;
  }
  return told;
}

/// What people see. What is not told is left out.
nlohmann::ordered_json ForPeople(const v1::StatusResponse& status) {
  nlohmann::ordered_json shown = nlohmann::ordered_json::object();
  shown["version"] = status.version();
  shown["sealed"] = Seal(status);
  shown["principal"] = status.principal();
  shown["trust_domain"] = status.trust_domain();
  if (!Tells(status)) return shown;
  if (!status.sealed()) shown["vault_id"] = status.vault_id();
  shown["address"] = status.address();
  shown["started_at_s"] = status.started_at_s();
  if (!status.sealed()) {
    shown["store"] = Fill(status);
    shown["rows"] = status.rows();
    shown["generation"] = status.generation();
    shown["restore_epoch"] = status.restore_epoch();
    shown["read_only"] = status.read_only()
                             ? "yes, after an I/O error: nothing is written until the next start"
                             : "no";
    shown["last_check"] = Check(status);
    shown["root_epoch"] = status.root_epoch();
    shown["keys_locked"] = status.keys_locked() ? "yes" : "no: they may be swapped out to a disk";
    shown["audit_sequence"] = status.audit_sequence();
  }
  shown["connections"] = Connections(status.edge());
  shown["calls"] = Calls(status.edge());
  return shown;
}

}  // namespace

void AddStatusVerb(CLI::App& app, Session& session) {
  const auto request = NewRequest<v1::StatusRequest>();
  AddVerb(app, session,
          {"status", "The daemon: version, seal, store, who you are", "oauthvault status"},
          [request](Session& run) -> Outcome<void> {
            auto status = run.Call(*request);
            if (!status) return Refuse(std::move(status));
            const bool json = run.style == Style::kJson;
            return WriteOut(
                RenderOne(json ? ForPrograms(*status) : ForPeople(*status), run.style));
          });
}

}  // namespace oauthvault::client
