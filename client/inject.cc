#include <sys/stat.h>
#include <unistd.h>

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
  bool sandbox = false;
};

/// What stands at a name, behind links; `-` is the standard descriptor.
bool StatusOf(const std::string& name, int standard, struct stat& status) {
  return (name == "-" ? ::fstat(standard, &status) : ::stat(name.c_str(), &status)) == 0;
}

/// Whether the output would go over the input: one file under two names, by a link of either kind
/// or by a redirection.
bool WouldOverwrite(const std::string& in, const std::string& out) {
  struct stat first {};
  struct stat second {};
  return StatusOf(in, STDIN_FILENO, first) && StatusOf(out, STDOUT_FILENO, second) &&
         S_ISREG(first.st_mode) && first.st_dev == second.st_dev && first.st_ino == second.st_ino;
}

Outcome<crypto::SecretBytes> Finish(Session& run, const Injection& given,
                                    std::span<const std::uint8_t> configuration) {
  const auto oauth_id = given.drop_id ? OauthIdInOutput::kDropped : OauthIdInOutput::kKept;
  const auto injected = given.sandbox ? Injected::kSandbox : Injected::kClear;
  auto finished = FinishWithoutVault(configuration, oauth_id, injected);
  if (!finished) return Refuse(std::move(finished));
  if (finished->has_value()) return std::move(**finished);
  auto vault = run.Reach();
  if (!vault) return Refuse(std::move(vault));
  return (*vault)->Inject(given.recipient, configuration, oauth_id, injected);
}

Outcome<void> Inject(Session& run, const Injection& given) {
  if (WouldOverwrite(given.in, given.out)) {
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
              {"inject",
               "Put the credentials that a component's configuration names into it, and open its "
               "sealed values",
               "oauthvault inject config.json --out /data/config.json --project 123 --component "
               "acme.ex-drive"},
              [given](Session& run) { return Inject(run, *given); });
  verb.add_option("FILE", given->in, "The configuration, at most 240 KiB; - for standard input")
      ->required();
  verb.add_option("--out", given->out,
                  "Where the result goes, atomically, mode 0600; - for standard output")
      ->required();
  AddRecipientOptions(verb, given->recipient);
  verb.add_flag("--sandbox", given->sandbox,
                "Open nothing: sealed copies of the credentials, sealed values as they are");
  verb.add_flag("--drop-id", given->drop_id, "Drop id and version beside the credentials");
}

}  // namespace oauthvault::client
