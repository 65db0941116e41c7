#pragma once

#include <CLI/CLI.hpp>
#include <chrono>
#include <functional>
#include <initializer_list>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "client/failure.h"
#include "client/output.h"
#include "client/vault.h"

namespace oauthvault::client {

/// One run of the program `oauthvault`: its global options and its vault. A verb is chosen while
/// the command line is read, and done afterwards.
class Session {
 public:
  /// What a verb does.
  using Act = std::function<Outcome<void>(Session&)>;

  /// A list is fetched in pages of this size, at most so many of them.
  static constexpr std::uint32_t kPageSize = 500;
  static constexpr int kMaxPages = 20'000;

  /// How long a call may take that reads, copies or clears away the whole store.
  static constexpr std::chrono::minutes kLongTimeout{30};

  /// The global options, and what the verbs are bound to.
  Options options;
  /// Whether the command line says how long a call may take.
  bool timeout_given = false;
  Style style = Style::kPeople;
  Act act;
  /// What stood behind `--`: the command of `run`, word for word.
  std::vector<std::string> command;
  /// The environment that the program was started with, `NAME=value`.
  std::vector<std::string> environment;
  /// What the program exits with when the verb succeeds; 130 when it was interrupted.
  int exit_code = 0;

  /// Gives calls kLongTimeout, unless the command line says otherwise; before the first call.
  void AllowLong() {
    if (!timeout_given) options.timeout = kLongTimeout;
  }

  /// The vault; connects when first asked for.
  Outcome<Vault*> Reach();
  /// Ends the connection; the next call makes another.
  void Leave() { vault_.reset(); }

  /// Calls and hands back what the daemon answers.
  template <class Request>
  auto Call(Request& request) -> decltype(std::declval<Vault&>().Call(request)) {
    auto vault = Reach();
    if (!vault) return Refuse(std::move(vault));
    return (*vault)->Call(request);
  }

  /// Calls and prints the answer as one thing.
  template <class Request>
  Outcome<void> Show(Request& request) {
    auto answer = Call(request);
    if (!answer) return Refuse(std::move(answer));
    return WriteOut(RenderOne(AsJson(*answer), style));
  }

  /// Calls; prints `done` for people and `{}` as JSON.
  template <class Request>
  Outcome<void> Do(Request& request, const std::string& done) {
    auto answer = Call(request);
    if (!answer) return Refuse(std::move(answer));
    return WriteOut(style == Style::kJson ? "{}\n" : Printable(done) + '\n');
  }

  /// Fetches a list page by page and gives every row to `take`.
  template <class Request, class Take>
  Outcome<void> Fetch(Request& request, Take take) {
    request.set_page_size(kPageSize);
    for (int page = 0; page < kMaxPages; ++page) {
      auto answer = Call(request);
      if (!answer) return Refuse(std::move(answer));
      std::vector<nlohmann::ordered_json> rows;
      std::string next = AppendRows(*answer, rows);
      for (auto& row : rows) take(std::move(row));
      if (next.empty()) return {};
      if (next == request.page_token()) break;
      request.set_page_token(std::move(next));
    }
    return Refuse(Code::kCorrupt, "the daemon's list does not end");
  }

  /// Fetches a whole list and prints it; people see these columns.
  template <class Request>
  Outcome<void> List(Request& request, std::initializer_list<std::string_view> columns) {
    std::vector<nlohmann::ordered_json> rows;
    auto fetched =
        Fetch(request, [&](nlohmann::ordered_json row) { rows.push_back(std::move(row)); });
    if (!fetched) return fetched;
    return WriteOut(RenderList(rows, columns, style));
  }

 private:
  std::optional<Vault> vault_;
};

/// How a verb reads in its help.
struct VerbText {
  const char* name;
  const char* what;
  /// A full command line: the help ends with it.
  const char* example;
};

/// Text of a list of backups.
std::string RenderBackups(std::span<const nlohmann::ordered_json> backups, Style style);

/// A noun that verbs hang on: `oauthvault project`.
CLI::App& AddNoun(CLI::App& app, const char* name, const char* what);
/// A verb; `act` is done when the command line chose it.
CLI::App& AddVerb(CLI::App& parent, Session& session, const VerbText& text, Session::Act act);

/// `--project` and `--component` of a request that has both, required.
template <class Request>
void AddPair(CLI::App& verb, Request& request) {
  verb.add_option("--project", *request.mutable_project(), "Project")->required();
  verb.add_option("--component", *request.mutable_component(), "Component")->required();
}

/// Who a configuration is injected for: its project and component, required, and what else makes
/// its sealed values open.
void AddRecipientOptions(CLI::App& verb, Recipient& recipient);

/// A request that lives as long as the verb that it is bound to.
template <class Request>
std::shared_ptr<Request> NewRequest() {
  return std::make_shared<Request>();
}

/// `runner/x` becomes `spiffe://<the vault's trust domain>/runner/x`; anything else stays.
/// Errors: kDenied (the daemon does not tell the caller its trust domain), as Status.
Outcome<std::string> CompletePrincipal(Session& run, const std::string& principal);

// One per file of verbs.
void AddStatusVerb(CLI::App& app, Session& session);
void AddSealVerbs(CLI::App& app, Session& session);
void AddSlotVerbs(CLI::App& app, Session& session);
void AddKeysVerbs(CLI::App& app, Session& session);
void AddBackupVerbs(CLI::App& app, Session& session);
void AddCheckVerb(CLI::App& app, Session& session);
void AddProjectVerbs(CLI::App& app, Session& session);
void AddComponentVerbs(CLI::App& app, Session& session);
void AddGrantVerbs(CLI::App& app, Session& session);
void AddIdentityVerbs(CLI::App& app, Session& session);
void AddTrustVerbs(CLI::App& identity, Session& session);
void AddExplainVerb(CLI::App& app, Session& session);
void AddTokenVerbs(CLI::App& app, Session& session);
void AddCredentialsVerbs(CLI::App& app, Session& session);
void AddWatchVerb(CLI::App& credentials, Session& session);
void AddInjectVerb(CLI::App& app, Session& session);
void AddEncryptVerb(CLI::App& app, Session& session);
void AddRunVerb(CLI::App& app, Session& session);
void AddRiveryVerbs(CLI::App& app, Session& session);
void AddAttemptVerbs(CLI::App& app, Session& session);
void AddConnectionVerbs(CLI::App& app, Session& session);
void AddAuditVerbs(CLI::App& app, Session& session);
void AddCompletionVerb(CLI::App& app, Session& session);

}  // namespace oauthvault::client
