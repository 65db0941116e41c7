#include "daemon/hardening.h"

#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
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

}  // namespace

void HardenProcess() {
  DropHostileVariables();
  const rlimit none{0, 0};
  setrlimit(RLIMIT_CORE, &none);
  prctl(PR_SET_DUMPABLE, 0);
  prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  umask(0077);
  std::signal(SIGPIPE, SIG_IGN);
  std::signal(SIGXFSZ, SIG_IGN);
}

}  // namespace oauthvault
