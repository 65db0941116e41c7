#include <sys/stat.h>

#include "client/configuration.h"
#include "client/input.h"
#include "client/private_file.h"
#include "client/session.h"

namespace oauthvault::client {
namespace {

struct Injection {
  std::string in;
  std::string out;
  Recipient recipient;
  bool drop_id = false;
};

/// Whether both names lead to one file, through links, too.
bool SameFile(const std::string& one, const std::string& other) {
  struct stat first {};
  struct stat second {};
  return ::stat(one.c_str(), &first) == 0 && ::stat(other.c_str(), &second) == 0 &&
         first.st_dev == second.st_dev && first.st_ino == second.st_ino;
}

Outcome<crypto::SecretBytes> Finish(Session& run, const Injection& given,
                                    std::span<const std::uint8_t> configuration) {
  const auto oauth_id = given.drop_id ? OauthIdInOutput::kDropped : OauthIdInOutput::kKept;
  auto finished = FinishWithoutVault(configuration, oauth_id);
  if (!finished) return Refuse(std::move(finished));
  if (finished->has_value()) return std::move(**finished);
  auto vault = run.Reach();
  if (!vault) return Refuse(std::move(vault));
  return (*vault)->Inject(given.recipient, configuration, oauth_id);
}

Outcome<void> Inject(Session& run, const Injection& given) {
  if (given.in != "-" && given.out != "-" && SameFile(given.in, given.out)) {
    return Refuse(Code::kInvalid, "--out is the input file itself: the result holds secrets and "
                                  "goes to a file of its own");
  }
  auto configuration = ReadBounded(given.in, {"configuration", "FILE", kMaxConfigurationSize});
  if (!configuration) return Refuse(std::move(configuration));
  auto finished = configuration->Expose(
      [&](std::span<const std::uint8_t> bytes) { return Finish(run, given, bytes); });
  if (!finished) return Refuse(std::move(finished));
  return finished->Expose([&](std::span<const std::uint8_t> bytes) {
    return given.out == "-" ? WriteOut(bytes)
                            : WritePrivateFile(given.out, bytes, Existing::kReplace);
  });
}

}  // namespace

void AddInjectVerb(CLI::App& app, Session& session) {
  const auto given = std::make_shared<Injection>();
  CLI::App& verb =
      AddVerb(app, session,
              {"inject", "Put the credentials that a component's configuration names into it",
               "oauthvault inject config.json --out /data/config.json --project 123 --component "
               "acme.ex-drive"},
              [given](Session& run) { return Inject(run, *given); });
  verb.add_option("FILE", given->in, "The configuration, at most 240 KiB; - for standard input")
      ->required();
  verb.add_option("--out", given->out,
                  "Where the result goes, atomically, mode 0600; - for standard output")
      ->required();
  verb.add_option("--project", given->recipient.project, "Project")->required();
  verb.add_option("--component", given->recipient.component, "Component")->required();
  verb.add_flag("--drop-id", given->drop_id, "Drop id and version beside the credentials");
}

}  // namespace oauthvault::client
