#include <deque>

#include "client/session.h"
#include "oauthvault/v1/audit.pb.h"

namespace oauthvault::client {
namespace {

constexpr std::uint32_t kDefaultLines = 100;

/// A line for people: its own fields. One that cannot be read shows its number.
nlohmann::ordered_json RowOf(const nlohmann::ordered_json& line) {
  nlohmann::ordered_json row =
      nlohmann::ordered_json::parse(line["json"].get<std::string>(), nullptr, false);
  if (!row.is_object()) return {{"seq", line["sequence"]}, {"act", "not readable"}};
  if (row.contains("time") && row["time"].is_string()) {
    // Seconds are enough here; --json has all.
    row["time"] = row["time"].get<std::string>().substr(0, 19);
  }
  if (row.contains("principal") && row["principal"].is_string()) {
    // The trust domain is the vault's own in every line; without it the table fits a screen.
    const std::string principal = row["principal"].get<std::string>();
    constexpr std::string_view kScheme = "spiffe://";
    const std::size_t path = principal.starts_with(kScheme) ? principal.find('/', kScheme.size())
                                                            : std::string::npos;
    if (path != std::string::npos) row["principal"] = principal.substr(path + 1);
  }
  return row;
}

/// The newest lines. The trail is read from its oldest line on, so only these are kept.
Outcome<void> Show(Session& run, v1::ShowAuditRequest& request, std::uint32_t limit) {
  std::deque<nlohmann::ordered_json> newest;
  auto fetched = run.Fetch(request, [&](nlohmann::ordered_json line) {
    newest.push_back(std::move(line));
    if (newest.size() > limit) newest.pop_front();
  });
  if (!fetched) return fetched;
  if (run.style == Style::kJson) {
    const std::vector<nlohmann::ordered_json> lines(newest.begin(), newest.end());
    return WriteOut(RenderList(lines, {}, run.style));
  }
  std::vector<nlohmann::ordered_json> rows;
  for (const auto& line : newest) rows.push_back(RowOf(line));
  return WriteOut(RenderList(rows,
                             {"seq", "time", "outcome", "act", "principal", "project", "component",
                              "oauth_id"},
                             run.style));
}

Outcome<void> Verify(Session& run, v1::VerifyAuditRequest& request) {
  auto verdict = run.Call(request);
  if (!verdict) return Refuse(std::move(verdict));
  const nlohmann::ordered_json json = AsJson(*verdict);
  std::string text;
  if (run.style == Style::kJson) {
    text = RenderOne(json, run.style);
  } else {
    text = "lines: " + std::to_string(verdict->lines()) +
           "\nsequence: " + std::to_string(verdict->first_sequence()) + " to " +
           std::to_string(verdict->last_sequence()) + '\n';
    if (verdict->problems().empty()) text += "every line verifies\n";
    for (const auto& problem : verdict->problems()) {
      text += "line " + std::to_string(problem.line_number()) + ": " + Printable(problem.what()) +
              '\n';
    }
  }
  auto written = WriteOut(text);
  if (!written || verdict->problems().empty()) return written;
  return Refuse(Code::kCorrupt, "the audit trail does not verify");
}

}  // namespace

void AddAuditVerbs(CLI::App& app, Session& session) {
  CLI::App& noun =
      AddNoun(app, "audit", "The audit trail: who was given what, and who was refused");
  {
    struct Given {
      v1::ShowAuditRequest request;
      std::uint32_t limit = kDefaultLines;
    };
    const auto given = std::make_shared<Given>();
    CLI::App& verb =
        AddVerb(noun, session,
                {"show", "The newest lines, oldest first", "oauthvault audit show --limit 20"},
                [given](Session& run) { return Show(run, given->request, given->limit); });
    verb.add_option("--limit", given->limit, "How many lines")
        ->check(CLI::Range(1U, 1'000'000U))
        ->capture_default_str();
  }
  {
    const auto request = NewRequest<v1::VerifyAuditRequest>();
    AddVerb(noun, session,
            {"verify", "Check every line and the chain; exit 2 when something is wrong",
             "oauthvault audit verify"},
            [request](Session& run) { return Verify(run, *request); });
  }
}

}  // namespace oauthvault::client
