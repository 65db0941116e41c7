#include "daemon/hardening.h"

#include <malloc.h>
#include <pthread.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <latch>
#include <string>
#include <string_view>
#include <vector>

namespace oauthvault {
namespace {

// Variables that begin so make a library print, write or send what it handles, weaken it, or use
// another file or host than the configuration names. Prefixes, because libraries gain new ones.
constexpr std::string_view kHostilePrefixes[] = {
    "GRPC_", "grpc_", "SSL", "OPENSSL_", "CURL_", "MALLOC_", "RES_OPTIONS", "LOCALDOMAIN",
    "HOSTALIASES", "http_proxy", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY", "no_proxy",
    "NO_PROXY",
};

void DropHostileVariables() {
  std::vector<std::string> hostile;
  for (char** variable = environ; variable != nullptr && *variable != nullptr; ++variable) {
    const std::string_view text(*variable);
    const std::string_view name = text.substr(0, text.find('='));
    const bool drop = std::ranges::any_of(
        kHostilePrefixes, [&](std::string_view prefix) { return name.starts_with(prefix); });
    if (drop) hostile.emplace_back(name);
  }
  for (const std::string& name : hostile) unsetenv(name.c_str());
}

// Floods and giants must not leave their mark: glibc would keep an arena for every thread, and
// after one large block keep all blocks of that size.
constexpr int kMaxArenas = 4;
constexpr int kKeptBlock = 128 * 1024;

void BoundKeptMemory() {
  mallopt(M_ARENA_MAX, kMaxArenas);
  mallopt(M_MMAP_THRESHOLD, kKeptBlock);
  mallopt(M_TRIM_THRESHOLD, kKeptBlock);
}

}  // namespace

void HardenProcess() {
  DropHostileVariables();
  BoundKeptMemory();
  const rlimit none{0, 0};
  setrlimit(RLIMIT_CORE, &none);
  prctl(PR_SET_DUMPABLE, 0);
  prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  umask(0077);
  std::signal(SIGPIPE, SIG_IGN);
  std::signal(SIGXFSZ, SIG_IGN);
}

void AllowDescriptors() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = std::max(limit.rlim_cur, std::min<rlim_t>(limit.rlim_max, kMaxDescriptors));
  setrlimit(RLIMIT_NOFILE, &limit);
}

Result<void> ExpectThreads(std::size_t count) {
  std::latch go_on(1);
  std::vector<pthread_t> threads;
  for (pthread_t thread{}; threads.size() < count; threads.push_back(thread)) {
    const auto wait = [](void* latch) -> void* {
      static_cast<std::latch*>(latch)->wait();
      return nullptr;
    };
    if (pthread_create(&thread, nullptr, wait, &go_on) != 0) break;
  }
  go_on.count_down();
  for (const pthread_t thread : threads) pthread_join(thread, nullptr);
  if (threads.size() < count) {
    return Fail(Code::kExhausted, "the daemon may not run as many threads as it needs",
                Subject::Number(count));
  }
  return {};
}

}  // namespace oauthvault
