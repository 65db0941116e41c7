// Replays a recording up to a moment, writes what a disk may hold after a power loss then, and
// looks whether all that was acknowledged by that moment is there. Each image is opened by a
// process of its own, with a time limit: a damaged store may crash or hang who reads it.
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <map>
#include <string>

#include "tests/faults/disk_image.h"
#include "tests/faults/vault_image.h"

namespace oauthvault::faults {
namespace {

constexpr unsigned kSecondsPerImage = 10;
constexpr std::size_t kShownViolations = 10;
constexpr std::size_t kVerdictSize = 400;

struct Options {
  std::string recording;
  std::string calls;
  std::string root;
  std::string images;
  std::string kept;
  std::string as_if;
  std::size_t count = 1000;
  std::size_t keep = 0;
  std::uint64_t seed = 1;
  std::uint64_t map_size_mib = 8;
  bool holes = false;
};

// Opens the image in a child. Nothing: it holds.
std::optional<std::string> Look(const std::filesystem::path& folder,
                                const std::vector<ClientCall>& calls, std::uint64_t moment_ns,
                                std::uint64_t map_size_bytes) {
  static char* const verdict = static_cast<char*>(
      mmap(nullptr, kVerdictSize, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
  verdict[0] = 0;
  const pid_t child = fork();
  if (child == 0) {
    alarm(kSecondsPerImage);
    const auto violation = Violation(folder, calls, moment_ns, map_size_bytes);
    if (violation) std::strncpy(verdict, violation->c_str(), kVerdictSize - 1);
    _exit(violation ? 1 : 0);
  }
  int status = 0;
  if (child < 0 || waitpid(child, &status, 0) != child) std::abort();
  if (WIFSIGNALED(status)) {
    return "DAMAGED: who opens it ends by signal " + std::to_string(WTERMSIG(status));
  }
  if (WEXITSTATUS(status) == 0) return std::nullopt;
  return verdict[0] == 0 ? "DAMAGED: who opens it ends" : std::string(verdict);
}

int Replay(const Options& options) {
  const std::vector<Recorded> recording = ReadRecording(options.recording);
  const std::vector<ClientCall> calls = ReadCalls(options.calls);
  struct stat root {};
  if (calls.empty() || stat(options.root.c_str(), &root) != 0) {
    std::fprintf(stderr, "replay: no calls, or no folder that they were recorded in\n");
    return 3;
  }
  DiskRules rules;
  rules.appends_are_prefixes = !options.holes;
  rules.syncs_count = options.as_if != "no-sync";
  rules.durable_writes_count = options.as_if != "no-meta-sync";
  DiskImage disk(root.st_ino, rules);
  DiskImage::Random random(options.seed);

  const auto began = std::chrono::steady_clock::now();
  std::map<std::string, std::size_t> kinds;
  std::size_t images = 0;
  std::size_t kept = 0;
  std::size_t violations = 0;
  for (std::size_t i = 0; i < recording.size(); ++i) {
    disk.Take(recording[i]);
    // The last moment before the next call ends: nothing more is durable, and the client has as
    // many answers as it can have.
    const std::uint64_t moment_ns =
        i + 1 < recording.size() ? recording[i + 1].record.ended_ns - 1 : ~std::uint64_t{0};
    std::vector<const Recorded*> under_way;
    for (std::size_t next = i + 1; next < recording.size() && next < i + 64; ++next) {
      if (recording[next].record.began_ns <= moment_ns) under_way.push_back(&recording[next]);
    }
    const std::size_t due = options.count * (i + 1) / recording.size();
    for (; images < due; ++images) {
      std::filesystem::remove_all(options.images);
      std::filesystem::create_directories(options.images);
      disk.WriteTo(options.images, under_way, random);
      // For the daemon itself to start on, as it is before anybody opened it.
      if (kept * options.count < images * options.keep && kept < options.keep) {
        const std::filesystem::path folder = std::filesystem::path(options.kept) /
                                             std::to_string(kept++);
        std::filesystem::copy(options.images, folder, std::filesystem::copy_options::recursive);
        std::ofstream(folder / "moment") << moment_ns;
      }
      const auto violation =
          Look(options.images, calls, moment_ns, options.map_size_mib << 20);
      if (!violation) continue;
      ++kinds[violation->substr(0, violation->find(':'))];
      if (++violations <= kShownViolations) {
        std::printf("%s (image %zu, after call %zu of %zu)\n", violation->c_str(), images, i + 1,
                    recording.size());
      }
    }
  }
  std::filesystem::remove_all(options.images);
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - began;
  std::printf("calls=%zu images=%zu violations=%zu lost=%zu damaged=%zu per_second=%.0f\n",
              recording.size(), images, violations, kinds["LOST"], kinds["DAMAGED"],
              static_cast<double>(images) / took.count());
  return violations == 0 ? 0 : 1;
}

}  // namespace
}  // namespace oauthvault::faults

int main(int argc, char** argv) {
  oauthvault::faults::Options options;
  CLI::App app("builds disks as a power loss may leave them, and looks into each");
  app.add_option("--recording", options.recording, "what preload_record wrote")->required();
  app.add_option("--calls", options.calls, "what the client called")->required();
  app.add_option("--root", options.root, "the folder that was recorded")->required();
  app.add_option("--images", options.images, "folder for one image at a time")->required();
  app.add_option("--count", options.count, "so many images");
  app.add_option("--seed", options.seed, "of the random choices");
  app.add_option("--map-size-mib", options.map_size_mib, "of the store");
  app.add_option("--kept", options.kept, "folder for images that are kept");
  app.add_option("--keep", options.keep, "so many of them");
  app.add_option("--as-if", options.as_if, "no-sync, no-meta-sync: the controls")
      ->check(CLI::IsMember({"no-sync", "no-meta-sync"}));
  app.add_flag("--holes", options.holes, "what was appended may leave holes");
  CLI11_PARSE(app, argc, argv);
  return oauthvault::faults::Replay(options);
}
