#include "daemon/rpc/methods.h"

#include <cstddef>
#include <cstdlib>
#include <utility>

namespace oauthvault::rpc {

void Methods::AddAt(std::string path, Method method) {
  if (!methods_.try_emplace(std::move(path), std::move(method)).second) std::abort();
}

void Methods::AddBeside(std::string path, Answerer answer) {
  AddAt(std::move(path), {nullptr, std::move(answer)});
}

void Methods::AddOtherwise(Answerer answer) { otherwise_ = {nullptr, std::move(answer)}; }

void Methods::CountIn(metrics::Calls& calls) {
  const auto count = [&calls](Method& method) {
    const std::string_view act =
        method.rule != nullptr ? std::string_view(method.rule->act) : "other";
    method.counted = &calls.Of(metrics::Door::kGrpc, act);
  };
  for (auto& [path, method] : methods_) count(method);
  count(otherwise_);
}

const Method& Methods::Of(const std::string& path) const {
  const auto found = methods_.find(path);
  return found == methods_.end() ? otherwise_ : found->second;
}

std::string Methods::PathOf(std::string_view act) {
  const std::size_t dot = act.find('.');
  std::string path = "/oauthvault.v1.";
  return path.append(act.substr(0, dot)).append("/").append(act.substr(dot + 1));
}

}  // namespace oauthvault::rpc
