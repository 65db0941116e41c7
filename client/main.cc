#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <iterator>
#include <span>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include "client/session.h"

namespace oauthvault::client {
namespace {

/// What a shell sees of a program that SIGPIPE ended.
constexpr int kBrokenPipe = 128 + SIGPIPE;
constexpr double kMaxTimeoutSeconds = 3600;
/// Where the daemon listens for its local admin when its configuration names nothing else.
constexpr const char* kDefaultSocket = "/run/oauthvault/admin.sock";

/// What people can do about it, behind the daemon's own words. It tells no more than those do.
std::string_view AdviceOn(const Failure& failure) {
  // The one answer of the daemon to every caller without the right (daemon/access/decide.cc).
  constexpr std::string_view kMayNot = "the caller may not do this";
  if (failure.code == Code::kSealed) return " (on its host: oauthvault unseal)";
  if (failure.message == kMayNot) return " (an admin learns why: oauthvault explain)";
  return "";
}

int Fail(Failure failure, Style style) {
  // `oauthvault audit export | head -1`: as of every other program, silence.
  if (failure.message == kNobodyReads) return kBrokenPipe;
  if (style == Style::kPeople) failure.message += AdviceOn(failure);
  std::fputs(RenderFailure(failure, style).c_str(), stderr);
  return ExitCodeOf(failure.code);
}

/// Where the vault is: what the command line says goes before the environment. A place (and
/// likewise an identity) from the command line replaces the environment's as a whole, so that the
/// two never mix. The local admin's socket is where nothing is said at all: who brings an identity
/// wants to call with it, and not as the local admin.
void TakeEnvironment(Options& options) {
  const auto from = [](const char* name) {
    const char* value = std::getenv(name);  // NOLINT(concurrency-mt-unsafe): before any thread
    return value == nullptr ? std::string() : std::string(value);
  };
  if (options.socket.empty() && options.address.empty()) {
    options.socket = from("OAUTHVAULT_SOCKET");
    options.address = from("OAUTHVAULT_ADDRESS");
  }
  if (options.identity.empty() && options.certificate.empty() && options.key.empty() &&
      options.ca.empty()) {
    options.identity = from("OAUTHVAULT_IDENTITY");
    options.certificate = from("OAUTHVAULT_CERT");
    options.key = from("OAUTHVAULT_KEY");
    options.ca = from("OAUTHVAULT_CA");
  }
  if (options.socket.empty() && options.address.empty() && options.identity.empty() &&
      options.certificate.empty() && options.key.empty() && options.ca.empty()) {
    options.socket = kDefaultSocket;
  }
}

void AddGlobalOptions(CLI::App& app, Session& session, bool& json, double& timeout_seconds) {
  Options& options = session.options;
  CLI::Option* socket = app.add_option(
      "--socket", options.socket,
      std::string("The daemon's unix socket [OAUTHVAULT_SOCKET]; without any place or identity ") +
          kDefaultSocket);
  app.add_option("--address", options.address, "The daemon's host:port [OAUTHVAULT_ADDRESS]")
      ->excludes(socket);
  app.add_option("--identity", options.identity,
                 "Folder with cert.pem, key.pem, ca.pem [OAUTHVAULT_IDENTITY]");
  app.add_option("--cert", options.certificate, "Certificate, PEM [OAUTHVAULT_CERT]");
  app.add_option("--key", options.key, "Its private key, PEM [OAUTHVAULT_KEY]");
  app.add_option("--ca", options.ca, "CA of the daemon's certificate, PEM [OAUTHVAULT_CA]");
  app.add_flag("--json", json, "Results and errors as one JSON document a line");
  app.add_option_function<double>(
         "--timeout",
         [&](double seconds) {
           timeout_seconds = seconds;
           session.timeout_given = true;
         },
         "Seconds that one call may take, at most 60; of unseal, backup, check and shred at most "
         "1800, which it is when not given")
      ->default_val(timeout_seconds)
      ->check(CLI::Range(0.001, kMaxTimeoutSeconds));
}

/// The noun or verb that the command line came to.
const CLI::App& Reached(const CLI::App& app) {
  const CLI::App* at = &app;
  while (!at->get_subcommands().empty()) at = at->get_subcommands().front();
  return *at;
}

/// How a command is called: `oauthvault project add`.
std::string LineOf(const CLI::App& command) {
  std::string line = command.get_name();
  for (const CLI::App* at = command.get_parent(); at != nullptr; at = at->get_parent()) {
    line.insert(0, at->get_name() + ' ');
  }
  return line;
}

/// What is wrong with the command line. Of words that nobody expected only the option's name is
/// told: the word may be a secret that was meant for a file.
std::string Complaint(const CLI::ParseError& error, const CLI::App& app) {
  const CLI::App& reached = Reached(app);
  const auto verbs = reached.get_subcommands({});
  const auto is = [&](CLI::ExitCodes code) {
    return error.get_exit_code() == static_cast<int>(code);
  };
  const bool lacks_verb = is(CLI::ExitCodes::RequiredError) && !verbs.empty();
  if (!lacks_verb && !is(CLI::ExitCodes::ExtrasError)) return error.what();
  const std::vector<std::string> words = app.remaining(true);
  for (const std::string& word : words) {
    if (word.starts_with("--")) return "unknown option " + word.substr(0, word.find('='));
  }
  if (!lacks_verb) return "there are more words than this command takes";
  std::string complaint = words.empty() ? "a command is missing" : "no such command";
  if (&reached == &app) return complaint;
  complaint += ": " + LineOf(reached) + " has";
  for (const CLI::App* verb : verbs) complaint += ' ' + verb->get_name();
  return complaint;
}

/// Takes off what stands behind `--` of `run`: CLI11 would look for options and lists in it.
int TakeCommand(std::span<char*> words, Session& session) {
  const auto mark = std::ranges::find(words, std::string_view("--"));
  const auto verb = std::find(words.begin(), mark, std::string_view("run"));
  if (mark == words.end() || verb == mark) return static_cast<int>(words.size());
  session.command.assign(std::next(mark), words.end());
  return static_cast<int>(mark - words.begin());
}

/// A standard stream that the program was started without stays one that cannot be used: else a
/// descriptor of the program's own would get its number, and what is meant for it.
void KeepClosed() {
  for (const int number : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    if (::fcntl(number, F_GETFD) >= 0) continue;
    ::open("/dev/null", number == STDIN_FILENO ? O_WRONLY : O_RDONLY);
  }
}

int Run(int argc, char** argv) {
  Session session;
  for (char** entry = environ; *entry != nullptr; ++entry) session.environment.emplace_back(*entry);
  // gRPC's own log can print what is sent, and its errors come back as values.
  ::unsetenv("GRPC_TRACE");               // NOLINT(concurrency-mt-unsafe)
  ::setenv("GRPC_VERBOSITY", "NONE", 1);  // NOLINT(concurrency-mt-unsafe)
  // Names resolve as for every other program, by the rules of nsswitch.conf.
  ::setenv("GRPC_DNS_RESOLVER", "native", 0);  // NOLINT(concurrency-mt-unsafe)
  std::signal(SIGPIPE, SIG_IGN);
  const rlimit no_core{0, 0};
  ::setrlimit(RLIMIT_CORE, &no_core);

  bool json = false;
  double timeout_seconds = 30;
  CLI::App app("oauthvault: asks oauthvaultd, the daemon that keeps OAuth credentials",
               "oauthvault");
  app.footer("Example:\n  oauthvault status\nEach command has its own: oauthvault project --help");
  app.set_version_flag("--version", "oauthvault " OAUTHVAULT_VERSION);
  app.require_subcommand(1);
  app.fallthrough();
  app.option_defaults()->multi_option_policy(CLI::MultiOptionPolicy::Throw);
  AddGlobalOptions(app, session, json, timeout_seconds);
  AddStatusVerb(app, session);
  AddSealVerbs(app, session);
  AddSlotVerbs(app, session);
  AddKeysVerbs(app, session);
  AddBackupVerbs(app, session);
  AddCheckVerb(app, session);
  AddProjectVerbs(app, session);
  AddComponentVerbs(app, session);
  AddGrantVerbs(app, session);
  AddIdentityVerbs(app, session);
  AddTokenVerbs(app, session);
  AddExplainVerb(app, session);
  AddCredentialsVerbs(app, session);
  AddInjectVerb(app, session);
  AddEncryptVerb(app, session);
  AddRunVerb(app, session);
  AddRiveryVerbs(app, session);
  AddConnectionVerbs(app, session);
  AddAttemptVerbs(app, session);
  AddAuditVerbs(app, session);
  AddCompletionVerb(app, session);

  const int words = TakeCommand(std::span(argv, static_cast<std::size_t>(argc)), session);
  if (session.command.empty()) KeepClosed();  // `run` gives its command other ones
  try {
    app.parse(words, argv);
    if (!session.command.empty() && !app.got_subcommand("run")) {
      throw CLI::ExtrasError(session.command);
    }
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) {  // --help, --version
      std::ostringstream text;
      app.exit(error, text);
      const auto told = WriteOut(text.str());
      return told ? 0 : Fail(told.error(), Style::kPeople);
    }
    for (const char* word : std::span(argv, static_cast<std::size_t>(words))) {
      json = json || std::string_view(word) == "--json";
    }
    const std::string help = " (see: " + LineOf(Reached(app)) + " --help)";
    return Fail({Code::kInvalid, Complaint(error, app) + help},
                json ? Style::kJson : Style::kPeople);
  }
  session.style = json ? Style::kJson : Style::kPeople;
  session.options.timeout =
      std::chrono::milliseconds(static_cast<std::int64_t>(timeout_seconds * 1000));
  TakeEnvironment(session.options);
  if (auto prepared = crypto::Prepare(); !prepared) {
    return Fail({prepared.error().GetCode(), prepared.error().Message()}, session.style);
  }
  const auto done = session.act(session);
  return done ? session.exit_code : Fail(done.error(), session.style);
}

}  // namespace
}  // namespace oauthvault::client

int main(int argc, char** argv) { return oauthvault::client::Run(argc, argv); }
