#include <deque>
#include <map>
#include <ranges>
#include <span>
#include <utility>
#include <vector>

#include "client/input.h"
#include "client/session.h"
#include "oauthvault/v1/audit.pb.h"

namespace oauthvault::client {
namespace {

constexpr std::uint32_t kDefaultLines = 100;

/// The line itself; one that cannot be read is its number and its text. The exact bytes, which its
/// MAC is over, are what `audit export` prints.
nlohmann::ordered_json ObjectOf(const nlohmann::ordered_json& line) {
  nlohmann::ordered_json object =
      nlohmann::ordered_json::parse(line["json"].get<std::string>(), nullptr, false);
  if (object.is_object()) return object;
  return {{"seq", line["sequence"]}, {"unreadable", line["json"]}};
}

/// A line for people.
nlohmann::ordered_json RowOf(const nlohmann::ordered_json& line) {
  nlohmann::ordered_json row = ObjectOf(line);
  if (row.contains("unreadable")) row["act"] = "not readable";
  if (row.contains("time") && row["time"].is_string()) {
    // Seconds are enough here; --json has all.
    row["time"] = row["time"].get<std::string>().substr(0, 19) + 'Z';
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

/// Prints lines of the trail; people see these columns.
Outcome<void> Print(const Session& run, const auto& lines,
                    std::initializer_list<std::string_view> columns) {
  std::vector<nlohmann::ordered_json> rows;
  for (const auto& line : lines) {
    rows.push_back(run.style == Style::kJson ? ObjectOf(line) : RowOf(line));
  }
  return WriteOut(RenderList(rows, columns, run.style));
}

/// The newest lines. More may come than were asked for: some are written meanwhile, and an older
/// daemon begins with the oldest one.
Outcome<void> Show(Session& run, v1::ShowAuditRequest& request, std::uint32_t limit) {
  request.set_newest(limit);
  std::deque<nlohmann::ordered_json> newest;
  auto fetched = run.FetchPages(request, [&](const v1::ShowAuditResponse& page) -> Outcome<void> {
    for (const v1::AuditLine& line : page.lines()) {
      newest.push_back(AsJson(line));
      if (newest.size() > limit) newest.pop_front();
    }
    return {};
  });
  if (!fetched) return fetched;
  return Print(run, newest,
               {"seq", "time", "outcome", "act", "principal", "project", "component", "oauth_id"});
}

/// What may have been stored where this was read: one line's end is the terminal's or the editor's,
/// or it was stored with the value, as `credentials put --data-file` does. The shortest first, so
/// that a line's end alone is refused as empty.
std::vector<v1::FindAuditRequest> FormsOf(const crypto::SecretBytes& value) {
  return value.Expose([](std::span<const std::uint8_t> bytes) {
    std::size_t shortest = bytes.size();
    if (shortest > 0 && bytes[shortest - 1] == '\n') --shortest;
    if (shortest > 0 && shortest < bytes.size() && bytes[shortest - 1] == '\r') --shortest;
    std::vector<v1::FindAuditRequest> forms;
    for (std::size_t size = shortest; size <= bytes.size(); ++size) {
      forms.emplace_back().set_value(bytes.data(), size);
    }
    return forms;
  });
}

/// The lines that name a value: read from standard input or a file, never from an argument.
Outcome<void> Find(Session& run, const std::string& file) {
  auto value = ReadBounded(file, {"value", "--value-file", kMaxDataSize});
  if (!value) return Refuse(std::move(value));
  std::map<std::uint64_t, nlohmann::ordered_json> by_sequence;
  for (v1::FindAuditRequest& request : FormsOf(*value)) {
    auto lines = run.FetchRows(request);
    if (!lines) return Refuse(std::move(lines));
    for (auto& line : *lines) {
      by_sequence.emplace(line["sequence"].get<std::uint64_t>(), std::move(line));
    }
  }
  return Print(run, by_sequence | std::views::values,
               {"seq", "time", "act", "principal", "project", "component", "oauth_id", "version",
                "peer"});
}

Outcome<void> Checkpoint(Session& run, v1::CheckpointRequest& request) {
  auto answer = run.Call(request);
  if (!answer) return Refuse(std::move(answer));
  if (run.style == Style::kJson) return WriteOut(RenderOne(AsJson(*answer), run.style));
  // The note as it is, to be kept in a file; a proof goes behind it, and is no part of it.
  std::string text = answer->checkpoint();
  if (!answer->consistency().empty()) {
    text += "\nconsistency since " + std::to_string(request.since()) + ":\n";
    for (const std::string& hash : answer->consistency()) text += Printable(hash) + '\n';
  }
  return WriteOut(text);
}

Outcome<void> Key(Session& run, v1::CheckpointRequest& request) {
  auto answer = run.Call(request);
  if (!answer) return Refuse(std::move(answer));
  if (run.style == Style::kJson) {
    return WriteOut(RenderOne({{"public_key", answer->public_key()}}, run.style));
  }
  return WriteOut(Printable(answer->public_key()) + '\n');
}

/// All lines as they stand in the trail, one a line, page by page.
Outcome<void> ExportLines(Session& run) {
  v1::ShowAuditRequest request;
  return run.FetchPages(request, [](const v1::ShowAuditResponse& page) {
    std::string text;
    for (const v1::AuditLine& line : page.lines()) text += line.json() + '\n';
    return WriteOut(text);
  });
}

/// A project's own extract, one record a line.
Outcome<void> ExportProject(Session& run, const std::string& project) {
  v1::ExtractAuditRequest request;
  request.set_project(project);
  return run.FetchPages(request, [](const v1::ExtractAuditResponse& page) {
    std::string text;
    for (const std::string& record : page.records()) text += record + '\n';
    return WriteOut(text);
  });
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
           std::to_string(verdict->last_sequence()) +
           "\nproven by a checkpoint to: " + std::to_string(verdict->proven_sequence()) + '\n';
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
    verb.add_option("--limit", given->limit, "How many lines at most")
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
  {
    const auto file = std::make_shared<std::string>("-");
    CLI::App& verb =
        AddVerb(noun, session,
                {"find", "Who was shown or sent a value, such as a leaked token, and when",
                 "oauthvault audit find < leaked-token"},
                [file](Session& run) { return Find(run, *file); });
    verb.add_option("--value-file", *file,
                    "File with the value, - for standard input; it is looked for with the newline "
                    "at its end and without")
        ->capture_default_str();
  }
  {
    const auto request = NewRequest<v1::CheckpointRequest>();
    CLI::App& verb = AddVerb(
        noun, session,
        {"checkpoint", "A signed checkpoint of all lines so far, to be kept elsewhere",
         "oauthvault audit checkpoint > checkpoint-$(date +%F)"},
        [request](Session& run) { return Checkpoint(run, *request); });
    verb.add_flag_callback("--close", [request] { request->set_close(true); },
                           "Close the open segment first: extracts end in its checkpoint");
    verb.add_option_function<std::uint64_t>(
        "--since", [request](std::uint64_t size) { request->set_since(size); },
        "Size of an older checkpoint: prove that the lines go on from it");
  }
  {
    const auto request = NewRequest<v1::CheckpointRequest>();
    AddVerb(noun, session,
            {"key", "The public key that checks checkpoints and extracts", "oauthvault audit key"},
            [request](Session& run) { return Key(run, *request); });
  }
  {
    const auto project = std::make_shared<std::string>();
    CLI::App& verb = AddVerb(
        noun, session,
        {"export", "All lines as JSON lines; or one project's, with a proof that none is missing",
         "oauthvault audit export --project 123 > extract.jsonl"},
        [project](Session& run) {
          return project->empty() ? ExportLines(run) : ExportProject(run, *project);
        });
    verb.add_option("--project", *project,
                    "The project: its lines in closed segments, to be checked with "
                    "`oauthvaultd verify-audit --extract`");
  }
}

}  // namespace oauthvault::client
