#include "daemon/upkeep/check.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <nlohmann/json.hpp>
#include <string_view>
#include <utility>

#include "crypto/descriptor.h"
#include "crypto/fields.h"
#include "crypto/hex.h"
#include "crypto/locked_memory.h"
#include "crypto/sealed.h"
#include "storage/check.h"

namespace oauthvault::upkeep {
namespace {

using Verdict = CheckResult::Verdict;
using nlohmann::json;

constexpr std::size_t kMaxReport = std::size_t{1} << 20;
constexpr std::chrono::milliseconds kAskBreakOff{100};
constexpr std::array<std::pair<Verdict, const char*>, 4> kVerdictWords = {{
    {Verdict::kWhole, "whole"},
    {Verdict::kDamaged, "damaged"},
    {Verdict::kUnusable, "unusable"},
    {Verdict::kNoStore, "no-store"},
}};

const char* WordOf(Verdict verdict) {
  for (const auto& [known, word] : kVerdictWords) {
    if (known == verdict) return word;
  }
  __builtin_unreachable();
}

Verdict VerdictOf(storage::Verdict verdict) {
  switch (verdict) {
    case storage::Verdict::kWhole: return Verdict::kWhole;
    case storage::Verdict::kDamagedRows: return Verdict::kDamaged;
    case storage::Verdict::kStructure: return Verdict::kUnusable;
    case storage::Verdict::kCannotOpen: return Verdict::kNoStore;
  }
  __builtin_unreachable();
}

using crypto::Descriptor;

struct Pipe {
  Descriptor read_end;
  Descriptor write_end;
};

Result<Pipe> MakePipe() {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) {
    return Fail(Code::kUnavailable, "no pipe to the process that checks");
  }
  return Pipe{Descriptor(ends[0]), Descriptor(ends[1])};
}

// The child runs this very program, wherever it was started from.
Result<pid_t> Spawn(const std::filesystem::path& folder, const std::filesystem::path& keys_file,
                    const Pipe& to_child, const Pipe& from_child) {
  std::string program = "oauthvaultd";
  std::string verb = "check-child";
  std::string folder_flag = "--folder=" + folder.string();
  std::string keys_flag = "--keys=" + keys_file.string();
  char* const arguments[] = {program.data(), verb.data(), folder_flag.data(), keys_flag.data(),
                             nullptr};
  char* const no_variables[] = {nullptr};
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, to_child.read_end.Get(), STDIN_FILENO);
  posix_spawn_file_actions_adddup2(&actions, from_child.write_end.Get(), STDOUT_FILENO);
  // Signals that this process blocks would stay blocked in the child.
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  sigset_t none;
  sigemptyset(&none);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
  pid_t child = 0;
  const int failed =
      posix_spawn(&child, "/proc/self/exe", &actions, &attributes, arguments, no_variables);
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&actions);
  if (failed != 0) return Fail(Code::kUnavailable, "the process that checks cannot be started");
  return child;
}

// Everything that comes before the end. Errors: Unavailable when there is no end in time.
Result<std::string> ReadUntil(int file, std::chrono::steady_clock::time_point deadline,
                              const BreakOff& break_off) {
  std::string text;
  std::array<char, 4096> part;
  while (text.size() <= kMaxReport) {
    if (std::chrono::steady_clock::now() >= deadline) {
      return Fail(Code::kUnavailable, "the check of the store was not done in time");
    }
    if (break_off && break_off()) {
      return Fail(Code::kUnavailable, "the check of the store was broken off");
    }
    pollfd waited{file, POLLIN, 0};
    const int ready = poll(&waited, 1, static_cast<int>(kAskBreakOff.count()));
    if (ready == 0 || (ready < 0 && errno == EINTR)) continue;
    const ssize_t got = ready < 0 ? -1 : read(file, part.data(), part.size());
    if (got < 0 && errno == EINTR) continue;
    if (got == 0) return text;
    if (got < 0) break;
    text.append(part.data(), static_cast<std::size_t>(got));
  }
  return Fail(Code::kUnavailable, "the process that checks the store cannot be understood");
}

// What the child wrote. Anything else than a whole report says that the child came to harm.
CheckResult ReadReport(const std::string& text) {
  CheckResult result;
  const json report = json::parse(text, nullptr, false);
  const auto number = [&](const char* name) -> std::uint64_t {
    const auto found = report.find(name);
    return found != report.end() && found->is_number_unsigned() ? found->get<std::uint64_t>() : 0;
  };
  const auto text_in = [](const json& object, const char* name) {
    const auto found = object.find(name);
    return found != object.end() && found->is_string() ? found->get<std::string>()
                                                       : std::string();
  };
  if (!report.is_object()) {
    result.problem_count = 1;
    result.problems.push_back({"the process that checked the store came to harm", {}});
    return result;
  }
  for (const auto& [verdict, word] : kVerdictWords) {
    if (text_in(report, "verdict") == word) result.verdict = verdict;
  }
  result.rows = number("rows");
  result.position = {number("epoch"), number("generation")};
  result.problem_count = number("problem_count");
  const auto problems = report.find("problems");
  if (problems != report.end() && problems->is_array()) {
    for (const json& problem : *problems) {
      if (!problem.is_object()) continue;
      result.problems.push_back({text_in(problem, "what"), text_in(problem, "row_key")});
    }
  }
  return result;
}

Result<crypto::RootKey> ReadRoot() {
  crypto::SecretBytes root(crypto::kKeySize);
  const bool whole = root.Fill([](std::span<std::uint8_t> room) {
    return std::cmp_equal(crypto::ReadAll(STDIN_FILENO, room), room.size());
  });
  if (!whole) return Fail(Code::kInvalid, "a check gets the root on its standard input");
  return crypto::RootKey(std::move(root));
}

}  // namespace

std::chrono::seconds CheckPatience(std::uint64_t size_bytes) {
  return std::chrono::seconds(60 * (1 + size_bytes / (std::uint64_t{64} << 20)));
}

Result<CheckResult> RunCheck(const std::filesystem::path& folder,
                             const std::filesystem::path& keys_file,
                             const crypto::Keyring& keyring, std::chrono::seconds patience,
                             const BreakOff& break_off) {
  const auto deadline = std::chrono::steady_clock::now() + patience;
  Result<crypto::RootKey> root = keyring.RootForChild();
  if (!root) return Fail(std::move(root));
  Result<Pipe> to_child = MakePipe();
  if (!to_child) return Fail(std::move(to_child));
  Result<Pipe> from_child = MakePipe();
  if (!from_child) return Fail(std::move(from_child));
  Result<pid_t> child = Spawn(folder, keys_file, *to_child, *from_child);
  if (!child) return Fail(std::move(child));
  to_child->read_end.Close();
  from_child->write_end.Close();
  // 32 bytes go into a pipe without waiting; a child that died already is seen below.
  root->Bytes().Expose([&](std::span<const std::uint8_t> bytes) {
    return crypto::WriteAll(to_child->write_end.Get(), bytes);
  });
  Result<std::string> report = ReadUntil(from_child->read_end.Get(), deadline, break_off);
  if (!report) kill(*child, SIGKILL);
  int status = 0;
  while (waitpid(*child, &status, 0) < 0 && errno == EINTR) {
  }
  if (!report) return Fail(std::move(report));
  // Whom somebody ended, for want of memory or with the daemon, found no damage; whom the store's
  // content brought down did.
  const bool was_ended = WIFSIGNALED(status) && (WTERMSIG(status) == SIGKILL ||
                                                 WTERMSIG(status) == SIGTERM);
  if (was_ended || (WIFEXITED(status) && report->empty())) {
    return Fail(Code::kUnavailable, "the process that checks the store was ended halfway");
  }
  return ReadReport(WIFEXITED(status) ? *report : std::string());
}

Result<CheckResult> RunLiveCheck(const std::filesystem::path& folder,
                                 const std::filesystem::path& keys_file,
                                 const crypto::Keyring& keyring, std::chrono::seconds patience,
                                 const BreakOff& break_off) {
  Result<CheckResult> first = RunCheck(folder, keys_file, keyring, patience, break_off);
  if (!first || first->verdict == Verdict::kWhole) return first;
  return RunCheck(folder, keys_file, keyring, patience, break_off);
}

int CheckChild(const std::filesystem::path& folder, const std::filesystem::path& keys_file) {
  // A daemon that is killed, or drops its keys at once, leaves none here. Whoever was gone before
  // this has closed the pipe.
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  Result<crypto::RootKey> root = ReadRoot();
  pollfd parent{STDIN_FILENO, 0, 0};
  if (!root || poll(&parent, 1, 0) != 0) return 2;
  Result<std::unique_ptr<crypto::Keyring>> keyring =
      crypto::Keyring::Unlock(keys_file, std::move(*root));
  json report;
  if (!keyring) {
    report = {{"verdict", WordOf(Verdict::kUnusable)},
              {"problem_count", 1},
              {"problems", json::array({{{"what", keyring.error().GetText()}}})}};
  } else {
    const storage::CheckReport found = storage::CheckStore(folder, **keyring);
    report = {{"verdict", WordOf(VerdictOf(found.verdict))},
              {"rows", found.rows},
              {"epoch", found.position.epoch},
              {"generation", found.position.generation},
              {"problem_count", found.problem_count},
              {"problems", json::array()}};
    for (const auto& problem : found.problems) {
      report["problems"].push_back(
          {{"what", problem.what},
           {"row_key", problem.key ? crypto::HexOf(problem.key->bytes) : ""}});
    }
  }
  const std::string text = report.dump();
  return crypto::WriteAll(STDOUT_FILENO, crypto::AsBytes(text)) ? 0 : 2;
}

void LastCheck::Begin() {
  const std::lock_guard lock(guard_);
  state_.word = "running";
}

void LastCheck::End(const Result<CheckResult>& result, std::int64_t now_s) {
  const std::lock_guard lock(guard_);
  state_ = {result ? WordOf(result->verdict) : "failed", now_s};
}

}  // namespace oauthvault::upkeep
