#include <CLI/CLI.hpp>
#include <csignal>
#include <fstream>
#include <iostream>
#include <string>
#include <vector>

#include "tests/fakes/rivery/standin.h"

namespace {

using oauthvault::fakes::ApiToken;
using oauthvault::fakes::KnobName;
using oauthvault::fakes::ParseApiToken;
using oauthvault::fakes::StandIn;

constexpr int kUserError = 1;
constexpr int kApplicationError = 2;

/// Adds the token of each line; empty lines and such that begin with `#` do not count.
bool AddTokensOf(const std::string& path, std::vector<std::string>& tokens) {
  std::ifstream file(path);
  if (!file) return false;
  for (std::string line; std::getline(file, line);) {
    if (!line.empty() && line.back() == '\r') line.pop_back();
    if (!line.empty() && line.front() != '#') tokens.push_back(line);
  }
  return true;
}

}  // namespace

int main(int argc, char** argv) {
  // Blocked before any thread starts, so that only the wait below gets them.
  sigset_t ends;
  sigemptyset(&ends);
  sigaddset(&ends, SIGTERM);
  sigaddset(&ends, SIGINT);
  pthread_sigmask(SIG_BLOCK, &ends, nullptr);

  CLI::App app("A stand-in for the Rivery API, for tests and demonstrations. State is in memory.",
               "rivery-standin");
  app.footer(
      "Example:\n"
      "  rivery-standin --port 8099 --token-file ./api-token --pending 202 --auto-allow 5");
  StandIn::Options options;
  std::vector<std::string> tokens;
  std::string token_file;
  bool quiet = false;
  app.add_option("--port", options.port, "port on 127.0.0.1; 0: a free one")
      ->capture_default_str();
  app.add_option("--token", tokens, "API token that is accepted, TOKEN[:scope,scope..]; repeatable")
      ->expected(1)
      ->take_all();
  app.add_option("--token-file", token_file, "file with one such token a line");
  app.add_flag("--quiet", quiet, "no line per request on stderr");
  for (const KnobName& knob : oauthvault::fakes::KnobNames()) {
    std::string flag = "--" + knob.name;
    for (char& c : flag) c = c == '_' ? '-' : c;
    app.add_option_function<std::string>(
           flag,
           [&options, name = knob.name, values = knob.values](const std::string& value) {
             if (!SetKnob(options.knobs, name, value)) throw CLI::ValidationError(name, values);
           },
           "answer where the vendor leaves it open")
        ->type_name(knob.values);
  }
  CLI11_PARSE(app, argc, argv);

  if (!token_file.empty() && !AddTokensOf(token_file, tokens)) {
    std::cerr << "rivery-standin: cannot read the token file\n";
    return kUserError;
  }
  for (const std::string& text : tokens) {
    const std::optional<ApiToken> token = ParseApiToken(text);
    if (!token) {
      std::cerr << "rivery-standin: a token is not TOKEN[:scope,scope..]\n";
      return kUserError;
    }
    options.tokens.push_back(*token);
  }
  if (options.tokens.empty()) {
    std::cerr << "rivery-standin: give --token or --token-file\n";
    return kUserError;
  }
  if (!quiet) options.log = &std::cerr;

  const auto server = StandIn::Start(std::move(options));
  if (!server) {
    std::cerr << "rivery-standin: " << server.error().Message() << '\n';
    return kApplicationError;
  }
  std::cout << "rivery-standin: listening on " << (*server)->BaseUrl() << std::endl;

  int signal = 0;
  sigwait(&ends, &signal);
  (*server)->Stop();
  return 0;
}
