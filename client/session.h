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

  /// A list is fetched in pages of this size; one that is kept whole has at most so many rows.
  static constexpr std::uint32_t kPageSize = 500;
  static constexpr std::size_t kMaxRows = 10'000'000;

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

  /// Fetches a list page by page and gives each answer to `take`, which answers Outcome<void>,
  /// until the end or until it refuses. No number of pages ends it: a trail has as many lines as
  /// it has. Errors: kCorrupt (a page that says it follows upon itself), as the call.
  template <class Request, class Take>
  Outcome<void> FetchPages(Request& request, Take take) {
    if constexpr (requires { request.set_page_size(kPageSize); }) {
      request.set_page_size(kPageSize);
    }
    while (true) {
      auto page = Call(request);
      if (!page) return Refuse(std::move(page));
      if (auto taken = take(*page); !taken) return taken;
      if (page->next_page_token().empty()) return {};
      if (page->next_page_token() == request.page_token()) {
        return Refuse(Code::kCorrupt, "the daemon's list does not end");
      }
      request.set_page_token(page->next_page_token());
    }
  }

  /// Fetches a whole list. Errors: kExhausted (it has more than kMaxRows), as FetchPages.
  template <class Request>
  Outcome<std::vector<nlohmann::ordered_json>> FetchRows(Request& request) {
    std::vector<nlohmann::ordered_json> rows;
    auto fetched = FetchPages(request, [&](const auto& page) -> Outcome<void> {
      AppendRows(page, rows);
      if (rows.size() <= kMaxRows) return {};
      return Refuse(Code::kExhausted, "the list has more than 10,000,000 rows");
    });
    if (!fetched) return Refuse(std::move(fetched));
    return rows;
  }

  /// Fetches a whole list and prints it; people see these columns.
  template <class Request>
  Outcome<void> List(Request& request, std::initializer_list<std::string_view> columns) {
    auto rows = FetchRows(request);
    if (!rows) return Refuse(std::move(rows));
    return WriteOut(RenderList(*rows, columns, style));
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
