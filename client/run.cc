#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <thread>

#include "client/configuration.h"
#include "client/data_folder.h"
#include "client/guardian.h"
#include "client/hidden.h"
#include "client/input.h"
#include "client/masker.h"
#include "client/private_file.h"
#include "client/session.h"
#include "crypto/descriptor.h"

namespace oauthvault::client {
namespace {

struct RunRequest {
  std::string in;
  std::vector<std::string> misplaced;  // a command without -- before it
  Recipient recipient;
  bool drop_id = false;
};

/// What is read from the command's pipes at once.
constexpr std::size_t kChunkSize = 64 * 1024;

/// The signals that are meant for the command.
constexpr std::array<int, 6> kPassedOn = {SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2};

int signal_pipe = -1;  // the end that NoteSignal writes to

/// Those that the terminal sends are not passed on: the command is of the same process group.
void NoteSignal(int signal, siginfo_t* info, void*) {
  if (info->si_code == SI_KERNEL) return;
  const int error = errno;
  const auto number = static_cast<std::uint8_t>(signal);
  // A pipe that is full of them holds thousands; those beyond are lost.
  [[maybe_unused]] const ssize_t ignored = ::write(signal_pipe, &number, 1);
  errno = error;
}

void CatchSignals() {
  struct sigaction caught {};
  caught.sa_sigaction = NoteSignal;
  caught.sa_flags = SA_SIGINFO | SA_RESTART;
  for (const int signal : kPassedOn) ::sigaction(signal, &caught, nullptr);
}

struct Pipe {
  crypto::Descriptor out;
  crypto::Descriptor in;
};

Outcome<Pipe> MakePipe(int flags = 0) {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC | flags) != 0) {
    return Refuse(Code::kUnavailable, "there are no more descriptors for a pipe");
  }
  return Pipe{crypto::Descriptor(ends[0]), crypto::Descriptor(ends[1])};
}

/// A descriptor that the program was started without would be given to one of its own files.
void FillStandardDescriptors() {
  for (const int number : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    if (::fcntl(number, F_GETFD) < 0) ::open("/dev/null", O_RDWR);
  }
}

/// Whether both go to one terminal, pipe or file: one pipe then keeps the order of what is written.
bool GoTogether(int one, int other) {
  struct stat first {};
  struct stat second {};
  return ::fstat(one, &first) == 0 && ::fstat(other, &second) == 0 &&
         first.st_dev == second.st_dev && first.st_ino == second.st_ino;
}

bool Write(int to, const std::string& text) {
  return crypto::WriteAll(to, {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()});
}

/// Copies what the command writes until it ends, without the secrets. Where nobody reads it any
/// more the command learns so, as it would without us.
void Copy(crypto::Descriptor from, int to, const HiddenTexts& texts) {
  Masker masker(texts);
  std::vector<std::uint8_t> chunk(kChunkSize);
  std::string shown;
  for (;;) {
    const ssize_t size = ::read(from.Get(), chunk.data(), chunk.size());
    if (size < 0 && errno == EINTR) continue;
    if (size <= 0) break;
    shown.clear();
    masker.Take({chunk.data(), static_cast<std::size_t>(size)}, shown);
    if (!Write(to, shown)) return;
  }
  shown.clear();
  masker.End(shown);
  Write(to, shown);
}

/// The environment that the program was started with, and KBC_DATADIR. It ends in a slash: some
/// components append `config.json`, others `/config.json`.
std::vector<std::string> EnvironmentOf(const Session& run, const std::filesystem::path& folder) {
  constexpr std::string_view kDataDir = "KBC_DATADIR=";
  std::vector<std::string> environment;
  for (const std::string& entry : run.environment) {
    if (!entry.starts_with(kDataDir)) environment.push_back(entry);
  }
  environment.push_back(std::string(kDataDir) + folder.string() + "/");
  return environment;
}

Outcome<crypto::SecretBytes> Finish(Session& run, const RunRequest& given,
                                    std::span<const std::uint8_t> configuration) {
  const auto oauth_id = given.drop_id ? OauthIdInOutput::kDropped : OauthIdInOutput::kKept;
  auto finished = FinishWithoutVault(configuration, oauth_id);
  if (!finished) return Refuse(std::move(finished));
  if (finished->has_value()) return std::move(**finished);
  auto vault = run.Reach();
  if (!vault) return Refuse(std::move(vault));
  auto injected = (*vault)->Inject(given.recipient, configuration, oauth_id);
  run.Leave();  // a command may run for days
  return injected;
}

/// Passes on signals until the command has ended.
Outcome<Guardian::Ended> AwaitEnd(Guardian& guardian, const crypto::Descriptor& signals) {
  for (;;) {
    std::array<pollfd, 2> ready = {{{guardian.Number(), POLLIN, 0}, {signals.Get(), POLLIN, 0}}};
    if (::poll(ready.data(), ready.size(), -1) < 0) continue;
    if (ready[0].revents != 0) return guardian.Next();
    std::uint8_t signal = 0;
    if (::read(signals.Get(), &signal, 1) == 1) guardian.Signal(signal);
  }
}

Outcome<void> RunCommand(Session& run, const RunRequest& given) {
  if (run.command.empty() || !given.misplaced.empty()) {
    return Refuse(Code::kInvalid, "there is no command: it stands behind -- at the end");
  }
  FillStandardDescriptors();
  auto configuration = ReadBounded(given.in, {"configuration", "FILE", kMaxConfigurationSize});
  if (!configuration) return Refuse(std::move(configuration));
  std::error_code ignored;
  const auto source = given.in == "-"
                          ? std::filesystem::path()
                          : std::filesystem::absolute(given.in, ignored).parent_path();
  auto output = MakePipe();
  if (!output) return Refuse(std::move(output));
  std::optional<Pipe> errors;  // none: they go with the output
  if (!GoTogether(STDOUT_FILENO, STDERR_FILENO)) {
    auto made = MakePipe();
    if (!made) return Refuse(std::move(made));
    errors = *std::move(made);
  }
  auto signals = MakePipe(O_NONBLOCK);
  if (!signals) return Refuse(std::move(signals));
  signal_pipe = signals->in.Get();

  auto folder = MakeDataFolder(PlaceForDataFolders(), source);
  if (!folder) return Refuse(std::move(folder));
  // It is there before any secret is, and before gRPC has threads.
  auto guardian = Guardian::Start(*folder, {run.command, EnvironmentOf(run, *folder)}, output->in,
                                  errors ? errors->in : output->in);
  if (!guardian) {
    RemoveDataFolder(*folder);
    return Refuse(std::move(guardian));
  }
  output->in.Close();
  if (errors) errors->in.Close();

  auto finished = configuration->Expose(
      [&](std::span<const std::uint8_t> bytes) { return Finish(run, given, bytes); });
  if (!finished) return Refuse(std::move(finished));
  const auto texts = HideSecretsOf(*finished);
  if (!texts) return std::unexpected<Failure>(texts.error());
  auto written = finished->Expose([&](std::span<const std::uint8_t> bytes) {
    return WritePrivateFile(*folder / "config.json", bytes, Existing::kRefuse);
  });
  if (!written) return written;
  *finished = crypto::SecretBytes();

  CatchSignals();
  if (auto runs = guardian->Run(); !runs) return runs;
  std::jthread copies_errors;
  if (errors) {
    copies_errors = std::jthread([&] { Copy(std::move(errors->out), STDERR_FILENO, *texts); });
  }
  std::jthread copies_output([&] { Copy(std::move(output->out), STDOUT_FILENO, *texts); });
  auto ended = AwaitEnd(*guardian, signals->out);
  // From here on they end this program, which may wait for whoever reads its output.
  for (const int signal : kPassedOn) ::signal(signal, SIG_DFL);
  copies_output.join();
  if (errors) copies_errors.join();
  if (!ended) return Refuse(std::move(ended));
  run.exit_code = ended->exit_code;
  if (ended->is_folder_gone) return {};
  return Refuse(Code::kUnavailable, "the data folder " + folder->string() + " cannot be removed: "
                                    "it holds secrets, remove it by hand");
}

}  // namespace

void AddRunVerb(CLI::App& app, Session& session) {
  const auto given = std::make_shared<RunRequest>();
  CLI::App& verb = AddVerb(
      app, session,
      {"run",
       "Run a command with the injected configuration in a data folder of its own; its output "
       "shows no secret",
       "oauthvault run config.json --project 123 --component acme.ex-drive -- python3 main.py"},
      [given](Session& run) { return RunCommand(run, *given); });
  verb.add_option("FILE", given->in,
                  "The configuration, at most 240 KiB; - for standard input. Folders `in` and "
                  "`out` beside it are used in place")
      ->required();
  // What stands behind -- never comes here: main.cc takes it off, word for word.
  verb.add_option("COMMAND", given->misplaced,
                  "Behind --: what to run, and its arguments; it finds config.json in KBC_DATADIR");
  AddRecipientOptions(verb, given->recipient);
  verb.add_flag("--drop-id", given->drop_id, "Drop id and version beside the credentials");
}

}  // namespace oauthvault::client
