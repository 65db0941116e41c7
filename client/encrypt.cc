#include <map>

#include "client/configuration.h"
#include "client/input.h"
#include "client/private_file.h"
#include "client/session.h"
#include "oauthvault/v1/credentials.pb.h"

namespace oauthvault::client {
namespace {

struct Encryption {
  std::string in;
  std::string out = "-";
  std::string scope;
  bool plain = false;
  v1::EncryptRequest request;
};

const std::map<std::string, v1::ValueScope>& Scopes() {
  static const std::map<std::string, v1::ValueScope> kScopes{
      {"component", v1::VALUE_SCOPE_COMPONENT},
      {"project", v1::VALUE_SCOPE_PROJECT},
      {"configuration", v1::VALUE_SCOPE_CONFIGURATION},
      {"project-wide", v1::VALUE_SCOPE_PROJECT_WIDE},
      {"branch-type", v1::VALUE_SCOPE_BRANCH_TYPE}};
  return kScopes;
}

/// A text without its last line's end: what an editor or `echo` adds is no part of a secret.
std::span<const std::uint8_t> WithoutLineEnd(std::span<const std::uint8_t> text) {
  if (!text.empty() && text.back() == '\n') text = text.first(text.size() - 1);
  if (!text.empty() && text.back() == '\r') text = text.first(text.size() - 1);
  return text;
}

Outcome<void> Encrypt(Session& run, Encryption& given) {
  const auto document = ReadBounded(given.in, {"document", "FILE", kMaxConfigurationSize});
  if (!document) return std::unexpected<Failure>(document.error());
  if (!given.scope.empty()) given.request.set_scope(Scopes().at(given.scope));
  document->Expose([&](std::span<const std::uint8_t> bytes) {
    if (given.plain) {
      bytes = WithoutLineEnd(bytes);
      given.request.set_text(bytes.data(), bytes.size());
    } else {
      given.request.set_document(bytes.data(), bytes.size());
    }
  });
  auto answer = run.Call(given.request);
  if (!answer) return Refuse(std::move(answer));
  const std::string text = answer->sealed() + '\n';
  if (given.out == "-") return WriteOut(text);
  return WritePrivateFile(
      given.out, {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()},
      Existing::kReplace);
}

}  // namespace

void AddEncryptVerb(CLI::App& app, Session& session) {
  const auto given = std::make_shared<Encryption>();
  CLI::App& verb =
      AddVerb(app, session,
              {"encrypt", "Seal what stands under # keys in a JSON document, or a whole text",
               "oauthvault encrypt config.json --out sealed.json --project 123 --component "
               "acme.ex-drive"},
              [given](Session& run) { return Encrypt(run, *given); });
  verb.add_option("FILE", given->in, "The document, at most 240 KiB; - for standard input")
      ->required();
  verb.add_option("--out", given->out,
                  "Where the result goes, atomically, mode 0600; - for standard output")
      ->capture_default_str();
  AddPair(verb, given->request);
  std::vector<std::string> words;
  for (const auto& [word, scope] : Scopes()) words.push_back(word);
  verb.add_option("--scope", given->scope,
                  "What the values are bound to: component, project, configuration, project-wide "
                  "or branch-type; if absent, --config, --branch-type or the project")
      ->check(CLI::IsMember(words));
  verb.add_option("--config", *given->request.mutable_configuration_id(),
                  "Configuration that the values are for");
  verb.add_option("--branch-type", *given->request.mutable_branch_type(),
                  "Type of branch that the values are for: default or dev")
      ->check(CLI::IsMember({"default", "dev"}));
  verb.add_flag("--plain", given->plain,
                "Seal the whole input as one value, without its last line's end");
}

}  // namespace oauthvault::client
