#include "daemon/config.h"

#include <toml++/toml.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <optional>
#include <sstream>
#include <string_view>
#include <utility>

#include "daemon/access/principal.h"
#include "daemon/listen_address.h"
#include "daemon/rivery/client.h"

namespace oauthvault {
namespace {

constexpr std::size_t kMaxConfigFileSize = 256 * 1024;

// How a setting is written in the file.
enum class Form : std::uint8_t { kText, kNumber, kFlag, kTexts, kNumbers };

// One setting: where it stands in the file, the flag and variable that override it, what it is
// for, and how a text becomes its value. The file, the environment and the flags all walk this
// table, so a key cannot be known to one and not to the others.
struct Setting {
  std::string key;   // `edge.max_connections`; the flag is --edge-max-connections,
                     // the variable OAUTHVAULT_EDGE_MAX_CONNECTIONS
  Form form;
  std::string help;
  std::function<std::string(const std::string&, Config&)> set;  // "" or what is wrong
};

std::string SetNumber(const std::string& text, std::uint64_t low, std::uint64_t high,
                      const std::function<void(std::uint64_t)>& store) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value < low || value > high) {
    return "must be a whole number from " + std::to_string(low) + " to " + std::to_string(high);
  }
  store(value);
  return {};
}

std::string SetBool(const std::string& text, bool& value) {
  if (text != "true" && text != "false") return "must be true or false";
  value = text == "true";
  return {};
}

std::string SetPath(const std::string& text, std::filesystem::path& path) {
  if (text.empty()) return "must not be empty";
  path = text;
  return {};
}

std::string SetFsck(const std::string& text, Config& config) {
  if (text != "before" && text != "behind") return "must be before or behind";
  config.fsck = text == "before" ? Config::Fsck::kBefore : Config::Fsck::kBehind;
  return {};
}

std::string SetListen(const std::string& text, std::string& listen) {
  if (!ReadListenAddress(text)) {
    return "must be ADDRESS:PORT, a numeric address (IPv6 in brackets) and a port from 0 to 65535";
  }
  listen = text;
  return {};
}

std::string SetNames(const std::string& text, Config& config) {
  std::vector<std::string> names;
  std::istringstream stream(text);
  for (std::string name; std::getline(stream, name, ',');) {
    if (name.empty() || name.size() > 253) return "must be names of 1 to 253 characters";
    names.push_back(name);
  }
  if (names.empty()) return "must hold at least one name";
  config.names = std::move(names);
  return {};
}

std::string SetStatuses(const std::string& text, Config& config) {
  std::set<int> statuses;
  std::istringstream stream(text);
  for (std::string status; std::getline(stream, status, ',');) {
    const std::string wrong = SetNumber(status, 100, 599, [&](std::uint64_t value) {
      statuses.insert(static_cast<int>(value));
    });
    if (!wrong.empty()) return "must be a list of HTTP statuses";
  }
  config.rivery.pending_statuses = std::move(statuses);
  return {};
}

std::string SetTrustDomain(const std::string& text, Config& config) {
  if (!access::IsValidTrustDomain(text)) return "must have 1 to 255 characters of a-z 0-9 . - _";
  config.trust_domain = text;
  return {};
}

std::string SetLogLevel(const std::string& text, Config& config) {
  if (text != "debug" && text != "info" && text != "warning" && text != "error") {
    return "must be debug, info, warning or error";
  }
  config.log_level = text;
  return {};
}

template <class Number>
auto NumberSetting(std::uint64_t low, std::uint64_t high, Number& (*member)(Config&)) {
  return [low, high, member](const std::string& text, Config& config) {
    return SetNumber(text, low, high,
                     [&](std::uint64_t value) { member(config) = static_cast<Number>(value); });
  };
}

template <class Member>
auto TextSetting(Member& (*member)(Config&)) {
  return [member](const std::string& text, Config& config) {
    member(config) = text;
    return std::string();
  };
}

const std::vector<Setting>& Settings() {
  static const std::vector<Setting> settings = {
      {"state", Form::kText, "folder of the keys file and the store",
       [](const std::string& text, Config& config) { return SetPath(text, config.state); }},
      {"audit", Form::kText, "folder of the audit trail; keep it apart from the store",
       [](const std::string& text, Config& config) { return SetPath(text, config.audit); }},
      {"key_file", Form::kText, "the key file whose slot opens the vault",
       [](const std::string& text, Config& config) {
         config.key_file = text;
         return std::string();
       }},
      {"socket", Form::kText, "unix socket of the local admin",
       [](const std::string& text, Config& config) { return SetPath(text, config.socket); }},
      {"listen", Form::kText, "ADDRESS:PORT for gRPC with mutual TLS; port 0 takes a free one",
       [](const std::string& text, Config& config) { return SetListen(text, config.listen); }},
      {"names", Form::kTexts, "names and addresses in the daemon's certificate", SetNames},
      {"trust_domain", Form::kText, "the SPIFFE trust domain of all principals", SetTrustDomain},
      {"log_level", Form::kText, "debug, info, warning or error", SetLogLevel},
      {"fsck", Form::kText, "check the store before serving, or in the background", SetFsck},
      {"allow_unlocked", Form::kFlag, "serve also where keys cannot be kept out of swap",
       [](const std::string& text, Config& config) {
         return SetBool(text, config.allow_unlocked);
       }},
      {"store.map_size_mib", Form::kNumber, "how large the store may grow",
       NumberSetting<std::uint64_t>(
           1, 1 << 20, [](Config& c) -> std::uint64_t& { return c.store.map_size_mib; })},
      {"custody.kept_versions", Form::kNumber, "former versions of credentials that are kept",
       NumberSetting<std::uint32_t>(
           0, 100, [](Config& c) -> std::uint32_t& { return c.custody.kept_versions; })},
      {"identities.kept_days", Form::kNumber,
       "days that identities stay listed after they expire",
       NumberSetting<std::uint32_t>(
           1, 3650, [](Config& c) -> std::uint32_t& { return c.identities.kept_days; })},
      {"attempts.kept_days", Form::kNumber, "days that attempts stay listed behind their end",
       NumberSetting<std::uint32_t>(
           1, 3650, [](Config& c) -> std::uint32_t& { return c.attempts.kept_days; })},
      {"edge.max_connections", Form::kNumber, "TCP connections at one time",
       NumberSetting<std::uint32_t>(
           1, 100'000, [](Config& c) -> std::uint32_t& { return c.edge.max_connections; })},
      {"edge.max_connections_per_address", Form::kNumber,
       "of these, from one IPv4 address or one IPv6 /64",
       NumberSetting<std::uint32_t>(
           1, 100'000,
           [](Config& c) -> std::uint32_t& { return c.edge.max_connections_per_address; })},
      {"edge.max_handshakes", Form::kNumber,
       "TLS handshakes at one time, half of them of one address",
       NumberSetting<std::uint32_t>(
           2, 100'000, [](Config& c) -> std::uint32_t& { return c.edge.max_handshakes; })},
      {"edge.handshake_timeout_ms", Form::kNumber,
       "a TLS handshake must be complete within this time",
       NumberSetting<std::uint32_t>(
           100, 60'000, [](Config& c) -> std::uint32_t& { return c.edge.handshake_timeout_ms; })},
      {"edge.max_calls", Form::kNumber, "calls at one time",
       NumberSetting<std::uint32_t>(
           1, 100'000, [](Config& c) -> std::uint32_t& { return c.edge.max_calls; })},
      {"edge.max_calls_per_principal", Form::kNumber, "of these, of one principal",
       NumberSetting<std::uint32_t>(
           1, 100'000,
           [](Config& c) -> std::uint32_t& { return c.edge.max_calls_per_principal; })},
      {"edge.stop_timeout_ms", Form::kNumber,
       "on SIGTERM, calls under way may finish within this time",
       NumberSetting<std::uint32_t>(
           0, 60'000, [](Config& c) -> std::uint32_t& { return c.edge.stop_timeout_ms; })},
      {"http.listen", Form::kText, "ADDRESS:PORT for HTTP; without it there is none",
       [](const std::string& text, Config& config) {
         if (!text.empty()) return SetListen(text, config.http.listen);
         config.http.listen.clear();
         return std::string();
       }},
      {"http.certificate", Form::kText, "PEM; without it HTTP is plain, and on loopback only",
       TextSetting<std::filesystem::path>(
           [](Config& c) -> std::filesystem::path& { return c.http.certificate; })},
      {"http.key", Form::kText, "the certificate's key, PEM",
       TextSetting<std::filesystem::path>(
           [](Config& c) -> std::filesystem::path& { return c.http.key; })},
      {"http.max_connections", Form::kNumber, "HTTP connections at one time",
       NumberSetting<std::uint32_t>(
           1, 10'000, [](Config& c) -> std::uint32_t& { return c.http.max_connections; })},
      {"http.max_connections_per_address", Form::kNumber, "of them from one address",
       NumberSetting<std::uint32_t>(
           1, 10'000,
           [](Config& c) -> std::uint32_t& { return c.http.max_connections_per_address; })},
      {"tls.certificate_folder", Form::kText,
       "folder of the server's own certificate; empty: the built-in CA gives one",
       TextSetting<std::filesystem::path>(
           [](Config& c) -> std::filesystem::path& { return c.tls.certificate_folder; })},
      {"rivery.allow_loopback", Form::kFlag, "Rivery accounts on this host, also over plain http",
       [](const std::string& text, Config& config) {
         return SetBool(text, config.rivery.allow_loopback);
       }},
      {"rivery.allow_private", Form::kFlag, "Rivery accounts at private addresses",
       [](const std::string& text, Config& config) {
         return SetBool(text, config.rivery.allow_private);
       }},
      {"rivery.ca_file", Form::kText,
       "PEM of the CAs that Rivery's certificate may come from; empty: the system's",
       TextSetting<std::string>(
           [](Config& c) -> std::string& { return c.rivery.ca_file; })},
      {"rivery.calls_per_minute", Form::kNumber, "calls to Rivery in any minute, for each account",
       NumberSetting<std::uint32_t>(
           1, 100'000, [](Config& c) -> std::uint32_t& { return c.rivery.calls_per_minute; })},
      {"rivery.poll_interval_ms", Form::kNumber, "between two looks at one pending authorization",
       NumberSetting<std::uint32_t>(
           100, 600'000, [](Config& c) -> std::uint32_t& { return c.rivery.poll_interval_ms; })},
      {"rivery.retry_interval_ms", Form::kNumber,
       "after a failed call of an attempt; doubles up to 16 times",
       NumberSetting<std::uint32_t>(
           100, 600'000, [](Config& c) -> std::uint32_t& { return c.rivery.retry_interval_ms; })},
      {"rivery.pending_statuses", Form::kNumbers,
       "HTTP statuses that mean \"no consent yet\", beside 2xx",
       SetStatuses},
      {"rivery.settle_time_ms", Form::kNumber, "how long an unclear create may take to show",
       NumberSetting<std::uint32_t>(
           0, 600'000, [](Config& c) -> std::uint32_t& { return c.rivery.settle_time_ms; })},
      {"rivery.update_pause_ms", Form::kNumber,
       "after a connection's update that failed; doubles up to an hour",
       NumberSetting<std::uint32_t>(
           100, 600'000, [](Config& c) -> std::uint32_t& { return c.rivery.update_pause_ms; })},
      {"rivery.catalogue_max_age_s", Form::kNumber, "how long a catalogue is not read anew",
       NumberSetting<std::uint32_t>(
           0, 604'800, [](Config& c) -> std::uint32_t& { return c.rivery.catalogue_max_age_s; })},
      {"rivery.allow_unchecked", Form::kFlag,
       "go on, with a warning, where no catalogue can be read to check names by",
       [](const std::string& text, Config& config) {
         return SetBool(text, config.rivery.allow_unchecked);
       }},
  };
  return settings;
}

constexpr std::string_view kRoutesSection = "rivery.routes";

// A name that has a dot with keys behind it.
bool IsSection(const std::string& name) {
  return name == kRoutesSection ||
         std::ranges::any_of(Settings(), [prefix = name + "."](const Setting& setting) {
           return setting.key.starts_with(prefix);
         });
}

std::string SetRoute(const std::string& name, const std::string& text, Config& config) {
  std::string known;
  bool is_known = false;
  for (const auto& [operation, route] : rivery::DefaultRoutes()) {
    is_known = is_known || rivery::NameOf(operation) == name;
    known.append(known.empty() ? "" : ", ").append(rivery::NameOf(operation));
  }
  if (!is_known) return "is no operation; there are " + known;
  const std::size_t space = text.find(' ');
  const std::string verb = text.substr(0, space);
  const auto unprintable =
      std::ranges::count_if(text, [](char c) { return c <= 0x20 || c >= 0x7f; });
  if (space == std::string::npos || text.size() < space + 2 || text[space + 1] != '/' ||
      unprintable != 1 ||
      (verb != "GET" && verb != "POST" && verb != "PUT" && verb != "PATCH" && verb != "DELETE")) {
    return "must be a verb and a path, such as \"PUT /connections/{id}\"";
  }
  config.rivery.routes[name] = text;
  return {};
}

std::string_view RuleOf(Form form) {
  switch (form) {
    case Form::kText: return "must be a string in quotes";
    case Form::kNumber: return "must be a whole number";
    case Form::kFlag: return "must be true or false, without quotes";
    case Form::kTexts: return "must be a list of strings";
    case Form::kNumbers: return "must be a list of whole numbers";
  }
  __builtin_unreachable();
}

// One TOML value as the text that a flag would have; none when it is of another form.
std::optional<std::string> TextOf(const toml::node& node, Form form) {
  switch (form) {
    case Form::kText:
      if (const auto* text = node.as_string()) return text->get();
      return std::nullopt;
    case Form::kNumber:
      if (const auto* number = node.as_integer()) return std::to_string(number->get());
      return std::nullopt;
    case Form::kFlag:
      if (const auto* flag = node.as_boolean()) return flag->get() ? "true" : "false";
      return std::nullopt;
    case Form::kTexts:
    case Form::kNumbers: break;
  }
  const auto* array = node.as_array();
  if (array == nullptr) return std::nullopt;
  std::string joined;
  for (const toml::node& element : *array) {
    const auto text = TextOf(element, form == Form::kTexts ? Form::kText : Form::kNumber);
    // A comma would make two of one.
    if (!text || text->find(',') != std::string::npos) return std::nullopt;
    if (!joined.empty()) joined += ',';
    joined += *text;
  }
  return joined;
}

std::string Place(const std::string& source, const toml::node& node) {
  return source + ":" + std::to_string(node.source().begin.line) + ": ";
}

// A key of somebody's file, made safe to print: it may hold anything.
std::string Printable(std::string_view key) {
  std::string text;
  for (const char c : key.substr(0, 64)) text += (c >= 0x20 && c < 0x7f) ? c : '?';
  return text;
}

std::expected<void, std::string> ReadTable(const toml::table& table, const std::string& prefix,
                                           const std::string& source, Config& config) {
  for (const auto& [name, node] : table) {
    const std::string key = prefix + std::string(name.str());
    if (const toml::table* inner = node.as_table()) {
      if (IsSection(key)) {
        if (auto read = ReadTable(*inner, key + ".", source, config); !read) return read;
        continue;
      }
      return std::unexpected(Place(source, node) + "unknown section [" + Printable(key) +
                             "]; remove it or correct its name");
    }
    if (prefix == std::string(kRoutesSection) + ".") {
      const auto text = TextOf(node, Form::kText);
      const std::string wrong = text ? SetRoute(std::string(name.str()), *text, config)
                                     : std::string(RuleOf(Form::kText));
      if (!wrong.empty()) {
        return std::unexpected(Place(source, node) + Printable(key) + " " + wrong);
      }
      continue;
    }
    const auto& settings = Settings();
    const auto setting =
        std::ranges::find_if(settings, [&](const Setting& known) { return known.key == key; });
    if (setting == settings.end()) {
      return std::unexpected(Place(source, node) + "unknown key " + Printable(key) +
                             "; remove it or correct its name (deploy/oauthvaultd.toml lists all)");
    }
    const auto text = TextOf(node, setting->form);
    const std::string wrong =
        text ? setting->set(*text, config) : std::string(RuleOf(setting->form));
    if (!wrong.empty()) return std::unexpected(Place(source, node) + key + " " + wrong);
  }
  return {};
}

std::string FlagOf(const std::string& key) {
  std::string flag = "--" + key;
  for (char& c : flag) {
    if (c == '.' || c == '_') c = '-';
  }
  return flag;
}

std::string VariableOf(const std::string& key) {
  std::string variable = "OAUTHVAULT_";
  for (const char c : key) {
    variable += (c == '.') ? '_' : static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  }
  return variable;
}

std::expected<std::string, std::string> ReadFile(const std::string& path) {
  std::error_code ignored;
  const bool is_folder = std::filesystem::is_directory(path, ignored);
  std::ifstream file(path, std::ios::binary);
  if (is_folder || !file) {
    return std::unexpected("cannot read the configuration " + path +
                           "; name a file with --config, or create it from "
                           "deploy/oauthvaultd.toml");
  }
  std::string text(kMaxConfigFileSize + 1, '\0');
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<std::size_t>(file.gcount()));
  if (file.bad()) {
    return std::unexpected("reading the configuration " + path + " failed; try again");
  }
  if (text.size() > kMaxConfigFileSize) {
    return std::unexpected("the configuration " + path +
                           " is larger than 256 KiB; shorten it, or name another with --config");
  }
  return text;
}

// What is wrong with the command line. Of words that nobody expected only the option's name is
// told: the word may be a secret.
std::string Complaint(const CLI::ParseError& error, const CLI::App& app) {
  std::string complaint = app.get_subcommands().empty()
                              ? "there is no such command"
                              : "there are more words than oauthvaultd takes";
  if (error.get_exit_code() != static_cast<int>(CLI::ExitCodes::ExtrasError)) {
    complaint = error.what();
  } else {
    for (const std::string& word : app.remaining(true)) {
      if (!word.starts_with("--")) continue;
      complaint = "unknown option " + Printable(word.substr(0, word.find('=')));
      break;
    }
  }
  return complaint + " (see --help)";
}

}  // namespace

const char* Version() { return OAUTHVAULT_VERSION; }

std::filesystem::path Config::KeyFile() const {
  constexpr std::string_view kCredential = "credential:";
  if (!key_file.starts_with(kCredential)) return key_file;
  const char* folder = std::getenv("CREDENTIALS_DIRECTORY");
  if (folder == nullptr) return {};
  return std::filesystem::path(folder) / key_file.substr(kCredential.size());
}

std::expected<void, std::string> ReadToml(const std::string& text, const std::string& source,
                                          Config& config) {
  try {
    return ReadTable(toml::parse(text, source), "", source, config);
  } catch (const toml::parse_error& error) {
    // The parser's description may quote the text, so only the place is told.
    return std::unexpected(source + ":" + std::to_string(error.source().begin.line) +
                           ": this is not valid TOML; correct the line");
  }
}

std::expected<Invocation, Ending> ReadInvocation(int argc, const char* const* argv) {
  Invocation invocation;
  CLI::App app(
      "oauthvaultd: holds OAuth credentials sealed and reveals them only to the component and "
      "project that they were granted to",
      "oauthvaultd");
  app.set_version_flag("--version", std::string("oauthvaultd ") + Version());
  app.footer(
      "Example:\n"
      "  oauthvaultd init --config /etc/oauthvault/oauthvaultd.toml\n"
      "  oauthvaultd --config /etc/oauthvault/oauthvaultd.toml\n"
      "Every flag but --config has a variable, too: --trust-domain is OAUTHVAULT_TRUST_DOMAIN.");
  app.fallthrough();
  app.require_subcommand(0, 1);
  app.add_subcommand("serve", "serve (the default)");
  std::vector<std::pair<const CLI::App*, Command>> commands;
  const auto add = [&](const char* name, Command command, const char* what) {
    CLI::App* verb = app.add_subcommand(name, what);
    commands.emplace_back(verb, command);
    return verb;
  };
  const CLI::IsMember slot_kinds({"key_file", "passphrase", "shares"});
  CLI::App* init = add("init", Command::kInit,
                       "make a new vault: keys, store, CA, audit trail; prints shares once");
  init->add_option("--slot", invocation.slot, "what opens it: key_file, passphrase or shares")
      ->check(slot_kinds);
  init->add_option("--shares", invocation.shares, "K/N: of N shares any K open it");
  add("fsck", Command::kFsck, "read and open every row of the store, offline or beside a daemon");
  CLI::App* restore = add("restore", Command::kRestore,
                          "put a backup in the place of the vault, offline; it is audited");
  restore->add_option("FOLDER", invocation.backup, "the backup");
  restore->add_flag("--present", invocation.present,
                    "go on with the store as it stands, although the trail says otherwise");
  restore->add_option("--reason", invocation.reason, "stands in the audit trail")->required();
  CLI::App* recover = add("recover", Command::kRecover,
                          "open `keys` with any one slot's secret and add a new slot, offline");
  recover->add_option("--slot", invocation.slot, "the new one: key_file, passphrase or shares")
      ->check(slot_kinds);
  recover->add_option("--shares", invocation.shares, "K/N: of N shares any K open it");
  recover->add_option("--out", invocation.out, "where a new key file goes");
  CLI::App* verify = add("verify-audit", Command::kVerifyAudit,
                         "check every line of the audit trail, or an extract of it, offline");
  verify->add_option("--public-key", invocation.public_key,
                     "what `oauthvault audit key` prints: no key of the vault is needed then");
  verify->add_option("--checkpoint", invocation.checkpoints,
                     "a checkpoint that was kept: the lines up to it must be those of then");
  verify->add_option("--extract", invocation.extract,
                     "what `oauthvault audit export --project` wrote; needs --public-key");
  CLI::App* child = add("check-child", Command::kCheckChild, "");
  child->group("");  // not in the help: a check runs it
  child->add_option("--folder", invocation.check_folder)->required();
  child->add_option("--keys", invocation.check_keys)->required();

  app.add_flag("--sealed", invocation.sealed,
               "begin sealed, although the key file could open the vault");
  std::string config_path;
  app.add_option("--config", config_path, "configuration in TOML")->envname("OAUTHVAULT_CONFIG");
  // The text of each setting that a flag or the environment gives.
  std::map<std::string, std::optional<std::string>> given;
  for (const Setting& setting : Settings()) {
    CLI::Option* option =
        app.add_option_function<std::string>(
               FlagOf(setting.key),
               [&given, &setting](const std::string& text) {
                 // A flag by itself says yes.
                 given[setting.key] = setting.form == Form::kFlag && text.empty() ? "true" : text;
               },
               setting.help)
            ->envname(VariableOf(setting.key));
    if (setting.form == Form::kFlag) option->expected(0, 1);
  }
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() != 0) return std::unexpected(Ending{1, Complaint(error, app)});
    std::ostringstream out;
    app.exit(error, out);
    return std::unexpected(Ending{0, out.str()});
  }

  if (!config_path.empty()) {
    auto text = ReadFile(config_path);
    if (!text) return std::unexpected(Ending{1, text.error()});
    if (auto read = ReadToml(*text, config_path, invocation.config); !read) {
      return std::unexpected(Ending{1, read.error()});
    }
  }
  for (const Setting& setting : Settings()) {
    const auto& text = given[setting.key];
    if (!text) continue;
    const std::string wrong = setting.set(*text, invocation.config);
    if (!wrong.empty()) {
      return std::unexpected(
          Ending{1, FlagOf(setting.key) + " (" + VariableOf(setting.key) + ") " + wrong});
    }
  }
  for (const auto& [verb, command] : commands) {
    if (verb->parsed()) invocation.command = command;
  }
  if (invocation.command == Command::kRestore &&
      invocation.present != invocation.backup.empty()) {
    return std::unexpected(
        Ending{1, "restore takes the folder of a backup, or --present for the store as it stands"});
  }
  return invocation;
}

}  // namespace oauthvault
