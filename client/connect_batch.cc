#include "client/connect_batch.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <map>
#include <set>
#include <thread>
#include <tuple>
#include <utility>
#include <vector>

#include "client/batch.h"
#include "client/input.h"
#include "client/interrupts.h"
#include "client/private_file.h"
#include "oauthvault/v1/attempts.pb.h"
#include "oauthvault/v1/connections.pb.h"
#include "oauthvault/v1/registry.pb.h"

namespace oauthvault::client {
namespace {

using std::chrono::milliseconds;

/// Between two looks at all rows: so long, and a little longer for each row.
constexpr milliseconds kPause{1'000};
constexpr milliseconds kPausePerRow{5};
/// How often Ctrl-C is looked at.
constexpr milliseconds kTick{100};
/// A terminal shows so many rows; the others are counted.
constexpr std::size_t kShownRows = 20;

/// A row and how far it has come.
struct Progress {
  BatchRow row;
  std::string attempt = {};
  std::string state = {};  ///< of the attempt; `connected`; `refused` where it could not begin
  std::string why = {};
  std::string connection = {};
  bool final = false;
  std::string auth_uri = {};
  std::int64_t expires_at_s = 0;

  bool HasConsent() const {
    return state == "stored" || state == "creating" || state == "unclear" || IsDone();
  }
  bool IsDone() const { return state == "created" || state == "connected"; }
};

using Pair = std::pair<std::string, std::string>;
/// What makes an attempt or a connection that of a row: account, oauth id, name.
using Key = std::tuple<std::string, std::string, std::string>;
Key KeyOf(const BatchRow& row) { return {row.account, row.oauth_id, row.name}; }

/// What there is already on a pair.
struct Standing {
  std::map<Key, std::string> connections;   // ids
  std::map<Key, nlohmann::ordered_json> attempts;  // the newest that did not fail
};

Outcome<Standing> Look(Session& run, const Pair& pair) {
  Standing standing;
  v1::ListConnectionsRequest connections;
  connections.set_project(pair.first);
  connections.set_component(pair.second);
  auto made = run.FetchRows(connections);
  if (!made) return Refuse(std::move(made));
  for (const auto& row : *made) {
    standing.connections[{row["account"], row["oauth_id"], row["name"]}] = row["id"];
  }
  v1::ListAttemptsRequest attempts;
  attempts.set_project(pair.first);
  attempts.set_component(pair.second);
  auto begun = run.FetchRows(attempts);
  if (!begun) return Refuse(std::move(begun));
  for (auto& row : *begun) {
    if (row["state"] == "failed" || row["connection_name"] == "") continue;
    auto& kept = standing.attempts[{row["account"], row["oauth_id"], row["connection_name"]}];
    if (kept.is_null() || kept["created_at_s"] < row["created_at_s"]) kept = std::move(row);
  }
  return standing;
}

/// A datasource that a row names must be the component's, which alone says what is authorized.
Outcome<void> CheckDatasources(Session& run, const std::vector<Progress>& rows) {
  std::map<std::string, std::string> known;
  for (const Progress& progress : rows) {
    const BatchRow& row = progress.row;
    if (row.datasource.empty()) continue;
    auto found = known.find(row.component);
    if (found == known.end()) {
      v1::GetComponentRequest request;
      request.set_id(row.component);
      auto component = run.Call(request);
      if (!component) return Refuse(std::move(component));
      found = known.emplace(row.component, component->rivery_datasource_id()).first;
    }
    if (found->second != row.datasource) {
      return Refuse(Code::kInvalid, "row " + std::to_string(row.number) +
                                        ": the component's datasource is " + found->second +
                                        "; nothing was done");
    }
  }
  return {};
}

void TakeOver(Progress& progress, const nlohmann::ordered_json& attempt) {
  progress.attempt = attempt["id"];
  progress.state = attempt["state"];
  progress.why = attempt["failure"];
  progress.connection = attempt["connection_id"];
  progress.final = attempt["final"];
  progress.expires_at_s = attempt["expires_at_s"];
  if (progress.state == "started" && attempt["predecessor"] != "") {
    progress.why = "a new link: the one before it failed";
  }
  if (progress.final && attempt["successor"] != "") {
    // The daemon goes on with another attempt, whose link is to be had like that of a new one.
    progress.attempt = attempt["successor"];
    progress.state = "new";
    progress.final = false;
  }
  if (progress.state != "started") progress.auth_uri.clear();
}

/// Whether the daemon was not reached: then no other row has a chance either.
bool IsOutage(const Failure& failure) {
  return failure.code == Code::kUnavailable || failure.code == Code::kSealed;
}

Outcome<void> Begin(Session& run, Progress& progress, std::int64_t validity_s) {
  v1::AuthorizeRequest request;
  request.set_project(progress.row.project);
  request.set_component(progress.row.component);
  request.set_account(progress.row.account);
  request.set_oauth_id(progress.row.oauth_id);
  request.set_connection_name(progress.row.name);
  request.set_authorized_for(progress.row.authorized_for);
  request.set_validity_s(validity_s);
  auto attempt = run.Call(request);
  if (attempt) {
    TakeOver(progress, AsJson(*attempt));
    return {};
  }
  if (IsOutage(attempt.error())) return Refuse(std::move(attempt));
  progress.state = "refused";
  progress.why = attempt.error().message;
  progress.final = true;
  return {};
}

/// Where a row's attempt stands now, and its link where it has one.
Outcome<void> Renew(Session& run, Progress& progress) {
  v1::GetAttemptRequest request;
  request.set_project(progress.row.project);
  request.set_component(progress.row.component);
  request.set_id(progress.attempt);
  auto attempt = run.Call(request);
  if (!attempt) return Refuse(std::move(attempt));
  TakeOver(progress, AsJson(*attempt));
  if (progress.state != "started" || !progress.auth_uri.empty()) return {};
  v1::GetLinkRequest link_request;
  link_request.set_project(progress.row.project);
  link_request.set_component(progress.row.component);
  link_request.set_id(progress.attempt);
  auto link = run.Call(link_request);
  if (link) {
    progress.auth_uri = link->auth_uri();
    progress.expires_at_s = link->expires_at_s();
    return {};
  }
  // It has just gone on.
  const Code code = link.error().code;
  if (code == Code::kStale || code == Code::kConflict || code == Code::kNotFound) return {};
  return Refuse(std::move(link));
}

/// The file of links; written when it would say something else than before.
class Links {
 public:
  explicit Links(std::string path) : path_(std::move(path)) {}
  Outcome<void> Write(const std::vector<Progress>& rows) {
    std::vector<BatchLink> links;
    for (const Progress& progress : rows) {
      if (progress.auth_uri.empty()) continue;
      links.push_back({&progress.row, progress.attempt, progress.auth_uri, progress.expires_at_s});
    }
    std::string text = WriteLinks(links, path_);
    if (text == written_) return {};
    auto written = WritePrivateFile(
        path_, {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()},
        Existing::kReplace);
    if (written) written_ = std::move(text);
    return written;
  }

 private:
  const std::string path_;
  std::string written_;
};

std::string Summary(const std::vector<Progress>& rows) {
  const auto count = [&](auto what) {
    return std::to_string(std::ranges::count_if(rows, what));
  };
  return count(&Progress::HasConsent) + " of " + std::to_string(rows.size()) + " have consented, " +
         count(&Progress::IsDone) + " are connected, " +
         count([](const Progress& row) { return row.final && !row.IsDone(); }) + " failed";
}

std::string LineOf(const Progress& progress) {
  std::string line = "row " + std::to_string(progress.row.number) + " " + progress.row.project +
                     "/" + progress.row.component + "/" + progress.row.oauth_id + ": " +
                     progress.state;
  if (!progress.why.empty()) line += " (" + progress.why + ")";
  return Printable(line);
}

/// The table on standard error.
class Table {
 public:
  explicit Table(Style style)
      : terminal_(::isatty(STDERR_FILENO) == 1), silent_(style == Style::kJson && !terminal_) {}

  void Show(const std::vector<Progress>& rows) {
    if (silent_) return;
    if (terminal_) return Rewrite(rows);
    for (const Progress& progress : rows) {
      std::string line = LineOf(progress);
      std::string& shown = lines_[progress.row.number];
      if (line == shown) continue;
      std::fprintf(stderr, "%s\n", line.c_str());
      shown = std::move(line);
    }
  }

 private:
  // Those that somebody waits for come first.
  void Rewrite(const std::vector<Progress>& rows) {
    std::vector<const Progress*> order;
    for (const Progress& progress : rows) order.push_back(&progress);
    std::ranges::stable_sort(order, {}, [](const Progress* row) { return row->IsDone(); });
    std::string text;
    std::size_t lines = 1;
    for (const Progress* progress : order) {
      if (lines > kShownRows) break;
      text += "\033[K" + LineOf(*progress) + '\n';
      ++lines;
    }
    if (rows.size() > kShownRows) {
      text += "\033[K.. and " + std::to_string(rows.size() - kShownRows) + " more\n";
      ++lines;
    }
    text += "\033[K" + Summary(rows) + '\n';
    if (text == lines_[0]) return;
    if (height_ > 0) std::fprintf(stderr, "\033[%zuA", height_);
    std::fputs(text.c_str(), stderr);
    height_ = lines;
    lines_[0] = std::move(text);
  }

  const bool terminal_;
  const bool silent_;
  std::size_t height_ = 0;
  std::map<std::size_t, std::string> lines_;  // what was shown, by row; the whole at 0
};

Outcome<void> Print(Session& run, const std::vector<Progress>& rows) {
  std::vector<nlohmann::ordered_json> shown;
  for (const Progress& progress : rows) {
    shown.push_back({{"row", progress.row.number},
                     {"project", progress.row.project},
                     {"component", progress.row.component},
                     {"account", progress.row.account},
                     {"id", progress.row.oauth_id},
                     {"name", progress.row.name},
                     {"state", progress.state},
                     {"why", progress.why},
                     {"attempt", progress.attempt},
                     {"connection", progress.connection},
                     {"expires_at_s", progress.expires_at_s}});
  }
  return WriteOut(RenderList(
      shown, {"row", "project", "component", "id", "name", "state", "why", "connection"},
      run.style));
}

/// The rows of the batch with what there is of them already.
Outcome<std::vector<Progress>> Prepare(Session& run, const BatchOptions& options) {
  auto bytes = ReadBounded(options.file, {"batch", "--batch", kMaxBatchBytes});
  if (!bytes) return Refuse(std::move(bytes));
  const std::string text = bytes->Expose([](std::span<const std::uint8_t> from) {
    return std::string(from.begin(), from.end());
  });
  auto read = ReadBatch(text);
  if (!read) return Refuse(std::move(read));
  if (!std::filesystem::exists(options.links)) {
    auto room = ExpectRoomFor(options.links);
    if (!room) return Refuse(std::move(room));
  }
  std::vector<Progress> rows;
  for (BatchRow& row : *read) rows.push_back({std::move(row)});
  auto checked = CheckDatasources(run, rows);
  if (!checked) return Refuse(std::move(checked));
  std::map<Pair, Standing> standings;
  for (Progress& progress : rows) {
    const Pair pair(progress.row.project, progress.row.component);
    auto standing = standings.find(pair);
    if (standing == standings.end()) {
      auto looked = Look(run, pair);
      if (!looked) return Refuse(std::move(looked));
      standing = standings.emplace(pair, *std::move(looked)).first;
    }
    const Key key = KeyOf(progress.row);
    if (const auto attempt = standing->second.attempts.find(key);
        attempt != standing->second.attempts.end()) {
      TakeOver(progress, attempt->second);
    }
    if (const auto connection = standing->second.connections.find(key);
        connection != standing->second.connections.end()) {
      progress.connection = connection->second;
      progress.state = "connected";
      progress.final = true;
    }
  }
  return rows;
}

bool WaitsForALink(const Progress& progress) {
  return !progress.final && (progress.state == "new" ||
                             (progress.state == "started" && progress.auth_uri.empty()));
}

}  // namespace

Outcome<void> ConnectBatch(Session& run, const BatchOptions& options) {
  auto rows = Prepare(run, options);
  if (!rows) return Refuse(std::move(rows));
  const Interrupts interrupts;
  Links links(options.links);
  Table table(run.style);
  for (Progress& progress : *rows) {
    if (interrupts.Came()) break;
    if (!progress.state.empty()) continue;
    auto begun = Begin(run, progress, options.validity_s);
    if (!begun) return begun;
  }
  const auto pause = kPause + kPausePerRow * rows->size();
  while (!interrupts.Came()) {
    for (Progress& progress : *rows) {
      if (progress.final || interrupts.Came()) continue;
      auto renewed = Renew(run, progress);
      // The daemon may be starting anew: what is known stays, and is asked for again.
      if (!renewed && !IsOutage(renewed.error())) return renewed;
      if (!renewed) break;
    }
    if (auto written = links.Write(*rows); !written) return written;
    table.Show(*rows);
    const bool goes_on = options.no_wait ? std::ranges::any_of(*rows, WaitsForALink)
                                         : !std::ranges::all_of(*rows, &Progress::final);
    if (!goes_on) break;
    for (milliseconds waited{0}; waited < pause && !interrupts.Came(); waited += kTick) {
      std::this_thread::sleep_for(kTick);
    }
  }
  if (auto printed = Print(run, *rows); !printed) return printed;
  if (interrupts.Came()) {
    std::fputs("oauthvault: the attempts go on in the daemon; run the same batch again to see "
               "them\n",
               stderr);
    run.exit_code = kInterruptedExit;
    return {};
  }
  const bool failed = std::ranges::any_of(
      *rows, [](const Progress& row) { return row.final && !row.IsDone(); });
  if (failed) return Refuse(Code::kInvalid, "some rows failed: " + Summary(*rows));
  return {};
}

}  // namespace oauthvault::client
