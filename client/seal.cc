#include <cstdio>

#include "client/input.h"
#include "client/session.h"
#include "oauthvault/v1/operations.pb.h"

namespace oauthvault::client {
namespace {

/// More than any vault needs: a lost person gives up before, a runaway script is stopped.
constexpr int kMaxSecrets = 100;

/// What the vault still needs.
struct Progress {
  std::uint32_t given = 0;
  std::uint32_t needed = 0;

  std::string Words() const {
    return std::to_string(given) + " of " + std::to_string(needed) + " shares";
  }
};

void Tell(const Session& run, const Failure& failure) {
  std::fputs(RenderFailure(failure, run.style).c_str(), stderr);
}

/// Whether the daemon did not take this one secret, but may take another.
bool IsAboutTheSecret(Code code) {
  return code == Code::kDenied || code == Code::kInvalid || code == Code::kConflict ||
         code == Code::kNotFound || code == Code::kStale;
}

Outcome<v1::UnsealResponse> Give(Session& run, const crypto::SecretBytes& secret) {
  v1::UnsealRequest request;
  secret.Expose([&](std::span<const std::uint8_t> bytes) {
    request.set_text(bytes.data(), bytes.size());
  });
  return run.Call(request);
}

/// Whether the vault is sealed, and how far it is. A vault that is open is a Conflict.
Outcome<Progress> Sealed(Session& run) {
  v1::StatusRequest request;
  auto status = run.Call(request);
  if (!status) return Refuse(std::move(status));
  if (!status->sealed()) return Refuse(Code::kConflict, "the vault is open already");
  return Progress{status->shares_given(), status->shares_needed()};
}

std::unexpected<Failure> StillSealed(const Progress& progress) {
  if (progress.given == 0) {
    return Refuse(Code::kInvalid, "the vault is still sealed: it needs a key file's line, a "
                                  "passphrase, or as many shares as a slot asks for");
  }
  if (progress.given >= progress.needed) {
    return Refuse(Code::kInvalid, "the vault is still sealed: enough shares were given, but one of "
                                  "them is wrong; a further one tells which");
  }
  return Refuse(Code::kInvalid, "the vault is still sealed: " + progress.Words() +
                                    " given, missing: " +
                                    std::to_string(progress.needed - progress.given));
}

Outcome<void> Unseal(Session& run, const std::string& file) {
  if (run.options.socket.empty() && !run.options.address.empty()) {
    return Refuse(Code::kDenied, "a vault is unsealed over the daemon's unix socket only: secrets "
                                 "that open it do not cross a network (--socket)");
  }
  run.AllowLong();
  auto progress = Sealed(run);
  if (!progress) return Refuse(std::move(progress));
  auto secrets = SecretLines::Open(file, {"secrets", "--file", kMaxSecretLineSize});
  if (!secrets) return Refuse(std::move(secrets));
  const bool shown = run.style == Style::kPeople || secrets->AtPrompt();
  for (int tried = 0; tried < kMaxSecrets; ++tried) {
    if (shown && progress->given > 0) {
      std::fputs((progress->Words() + " given\n").c_str(), stderr);
    }
    auto secret = secrets->Next("key file's line, share or passphrase");
    if (!secret) {
      Tell(run, secret.error());
      continue;
    }
    if (!*secret) break;
    auto answer = Give(run, **secret);
    if (!answer) {
      if (!IsAboutTheSecret(answer.error().code)) return Refuse(std::move(answer));
      Tell(run, answer.error());
      // Somebody else may have opened it meanwhile, or given a share.
      auto now = Sealed(run);
      if (!now) return Refuse(std::move(now));
      *progress = *now;
      continue;
    }
    *progress = {answer->shares_given(), answer->shares_needed()};
    if (!answer->open()) continue;
    return WriteOut(run.style == Style::kJson ? RenderOne(AsJson(*answer), run.style)
                                              : "the vault is open\n");
  }
  return StillSealed(*progress);
}

}  // namespace

void AddSealVerbs(CLI::App& app, Session& session) {
  {
    const auto file = std::make_shared<std::string>();
    CLI::App& verb = AddVerb(
        app, session,
        {"unseal", "Open the vault: asks for one secret after the other until it is open",
         "oauthvault unseal --file key"},
        [file](Session& run) { return Unseal(run, *file); });
    verb.add_option("--file", *file,
                    "One secret a line: a key file's line, a passphrase, or shares; standard input "
                    "when not given. A terminal is asked, without echo");
  }
  {
    const auto request = NewRequest<v1::SealRequest>();
    AddVerb(app, session,
            {"seal", "Drop all keys at once; calls under way are cancelled", "oauthvault seal"},
            [request](Session& run) { return run.Do(*request, "the vault is sealed"); });
  }
}

}  // namespace oauthvault::client
