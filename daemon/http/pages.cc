#include <algorithm>
#include <chrono>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>

#include "daemon/http/openapi.h"
#include "daemon/http/stories.h"
#include "daemon/registry/identities.h"

namespace oauthvault::http {
namespace {

using metrics::Exposition;

Reply HealthReply(unsigned status, std::string_view word, bool sealed) {
  const nlohmann::ordered_json body = {{"status", word}, {"sealed", sealed}};
  return {.status = status, .body = body.dump()};
}

void WriteStore(const storage::Store& store, Exposition& out) {
  const auto fill = store.GetEngine().GetFill();
  if (!fill) return;
  out.Gauge("oauthvault_store_used_bytes", "What the store's rows take.",
            static_cast<double>(fill->used_bytes));
  out.Gauge("oauthvault_store_create_limit_bytes", "Beyond this nothing new is stored.",
            static_cast<double>(fill->create_limit_bytes));
  out.Gauge("oauthvault_store_capacity_bytes", "How large the store may grow.",
            static_cast<double>(fill->capacity_bytes));
  out.Gauge("oauthvault_store_rows", "Rows of the store, its own too.",
            static_cast<double>(fill->rows));
  out.Gauge("oauthvault_store_read_only", "1 after an I/O error, until the next start.",
            fill->read_only ? 1 : 0);
  out.Gauge("oauthvault_store_generation", "The number of the last commit.",
            static_cast<double>(store.GetEngine().Generation()));
}

void WriteAttempts(const Survey& survey, Exposition& out) {
  out.Begin("oauthvault_attempts", "gauge", "Attempts of the Rivery flow by their state.");
  for (const storage::AttemptState state : storage::kAttemptStates) {
    out.Sample("", {{"state", NameOf(state)}},
               static_cast<double>(survey.attempts[static_cast<std::size_t>(state)]));
  }
}

void WriteExpiries(const Survey& survey, const Gauges& gauges, Exposition& out) {
  out.Begin("oauthvault_expiry_timestamp_seconds", "gauge",
            "When what is in force ends, the soonest of its kind; none where there is none.");
  const std::pair<std::string_view, std::int64_t> kinds[] = {
      {"token", survey.token_expires_at_s},
      {"client_certificate", survey.identity_expires_at_s},
      {"grpc_certificate",
       gauges.daemon_certificate_expires_at_s ? gauges.daemon_certificate_expires_at_s() : 0},
      {"http_certificate", gauges.http_certificate_expires_at_s},
  };
  for (const auto& [kind, at_s] : kinds) {
    if (at_s != 0) out.Sample("", {{"kind", kind}}, static_cast<double>(at_s));
  }
}

void WriteUpkeep(const Gauges& gauges, Exposition& out) {
  if (gauges.connections_behind) {
    out.Gauge("oauthvault_connections_behind",
              "Rivery connections that wait to be written with newer credentials.",
              static_cast<double>(gauges.connections_behind()));
  }
  const Gauges::Check check = gauges.last_check ? gauges.last_check() : Gauges::Check();
  if (!check.result.empty()) {
    out.Begin("oauthvault_check_info", "gauge", "What the last check of the store says; always 1.");
    out.Sample("", {{"result", check.result}}, 1);
  }
  if (check.at_s != 0) {
    out.Gauge("oauthvault_last_check_timestamp_seconds", "When a check of the store last ended.",
              static_cast<double>(check.at_s));
  }
}

}  // namespace

Result<Survey> Surveyor::Look(const Vault& vault) {
  const std::lock_guard lock(guard_);
  const std::int64_t now_s = vault.now_s();
  if (last_ && now_s >= looked_at_s_ && now_s - looked_at_s_ < kSurveyIntervalS) return *last_;
  Survey survey;
  auto looked = vault.store.ForEach<storage::Project>("", "", [&](const auto& project) {
    // A damaged row of a tenant must not hide the numbers of all others.
    (void)vault.store.ForEach<storage::Attempt>(
        project.row.id.Str(), "", [&](const auto& attempt) {
          ++survey.attempts[static_cast<std::size_t>(attempt.row.state)];
        });
  });
  if (!looked) return Fail(std::move(looked));
  looked = vault.store.ForEach<storage::Identity>("", "", [&](const auto& identity) {
    const std::int64_t at_s = identity.row.expires_at_s;
    if (registry::StateOf(identity.row, now_s) != registry::IdentityState::kValid) return;
    std::int64_t& soonest = survey.identity_expires_at_s;
    if (soonest == 0 || at_s < soonest) soonest = at_s;
  });
  if (!looked) return Fail(std::move(looked));
  looked = vault.store.ForEach<storage::Backup>("", "", [&](const auto& backup) {
    survey.last_backup_at_s = std::max(survey.last_backup_at_s, backup.row.at_s);
  });
  if (!looked) return Fail(std::move(looked));
  auto token = vault.tokens.SoonestExpiry(now_s);
  if (!token) return Fail(std::move(token));
  survey.token_expires_at_s = *token;
  last_ = survey;
  looked_at_s_ = now_s;
  return survey;
}

Result<Reply> NotOffered(Visit& visit) {
  return ErrorReply(501,
                    "this vault has no consent flow of its own yet; credentials are stored with "
                    "POST /credentials/{component}",
                    visit.request.request_id);
}

Result<Reply> Live(Visit& visit) { return HealthReply(200, "live", visit.vault == nullptr); }

Result<Reply> Ready(Visit& visit) {
  if (visit.vault == nullptr) return HealthReply(503, "sealed", true);
  const auto fill = visit.vault->store.GetEngine().GetFill();
  const bool serves = fill && !fill->read_only && visit.vault->store.GetAnchor().has_value();
  const auto failed_ago = visit.vault->trail.GetLag().failed_ago;
  const bool records = !failed_ago || *failed_ago > kAuditFailureShows;
  if (!serves || !records) return HealthReply(503, "unavailable", false);
  return HealthReply(200, "ready", false);
}

Result<Reply> Metrics(Visit& visit) {
  Exposition out;
  out.Gauge("oauthvault_sealed", "1 while the vault is sealed.", visit.vault == nullptr ? 1 : 0);
  out.Begin("oauthvault_build_info", "gauge", "Which version the daemon is; always 1.");
  out.Sample("", {{"version", visit.gauges.version}}, 1);
  out.Gauge("oauthvault_start_time_seconds", "When the daemon was started.",
            static_cast<double>(visit.gauges.started_at_s));
  out.Gauge("oauthvault_http_connections", "Open connections of the HTTP interface.",
            static_cast<double>(visit.gauges.connections ? visit.gauges.connections() : 0));
  if (visit.gauges.write_doors) visit.gauges.write_doors(out);
  visit.calls.Write(out);
  if (visit.vault != nullptr) {
    WriteStore(visit.vault->store, out);
    const audit::Lag lag = visit.vault->trail.GetLag();
    out.Gauge("oauthvault_audit_lines_waiting", "Audit lines that are not durable yet.",
              static_cast<double>(lag.lines));
    out.Gauge("oauthvault_audit_lag_seconds", "How long the oldest of them has waited.",
              std::chrono::duration<double>(lag.oldest).count());
    out.Gauge("oauthvault_audit_sequence", "The last durable line of the audit trail.",
              static_cast<double>(visit.vault->trail.LastSequence()));
    WriteUpkeep(visit.gauges, out);
    if (const auto survey = visit.vault->surveyor.Look(*visit.vault)) {
      WriteAttempts(*survey, out);
      WriteExpiries(*survey, visit.gauges, out);
      if (survey->last_backup_at_s != 0) {
        out.Gauge("oauthvault_last_backup_timestamp_seconds", "When the last backup was made.",
                  static_cast<double>(survey->last_backup_at_s));
      }
    }
  }
  return Reply{.body = std::move(out).Take(),
               .content_type = std::string(Exposition::kContentType)};
}

Result<Reply> Description(Visit&) { return Reply{.body = std::string(OpenApi())}; }

}  // namespace oauthvault::http
