#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>

#include "daemon/metrics/calls.h"
#include "daemon/rpc/access_rules.h"

namespace oauthvault::rpc {

class Call;

/// Answers a call, now or later, from any thread.
using Answerer = std::function<void(Call&)>;

/// A method that is served.
struct Method {
  const Rule* rule = nullptr;  ///< its name, right and bounds; null: it is not of the contract
  Answerer answer;             ///< empty: there is no such method
  metrics::Calls::Series* counted = nullptr;  ///< null: nowhere
};

/// What a server serves, by path (`/oauthvault.v1.Credentials/Reveal`). Filled before it starts; a
/// path that is entered twice ends the process.
class Methods {
 public:
  /// `rules` outlive the object.
  explicit Methods(const AccessRules& rules) : rules_(&rules) {}

  /// Serves `act` (`Credentials.Reveal`) by a member of a service, which outlives the server. An
  /// act that is not in the contract ends the process.
  template <class Service>
  void Add(std::string_view act, Service& service, void (Service::*member)(Call&)) {
    AddAt(PathOf(act), {&rules_->Of(act), [&service, member](Call& call) {
                          (service.*member)(call);
                        }});
  }
  /// Serves a method beside the contract: gRPC's own health service.
  void AddBeside(std::string path, Answerer answer);
  /// What answers everything else. Without, gRPC's UNIMPLEMENTED does.
  void AddOtherwise(Answerer answer);

  /// From here on all are counted by their acts; what is not of the contract as `other`, since a
  /// label must not hold what a caller sent. `calls` outlives the object.
  void CountIn(metrics::Calls& calls);

  /// The method of a path; the one for everything else where there is none.
  const Method& Of(const std::string& path) const;

 private:
  static std::string PathOf(std::string_view act);
  void AddAt(std::string path, Method method);

  const AccessRules* rules_;
  std::unordered_map<std::string, Method> methods_;
  Method otherwise_;
};

}  // namespace oauthvault::rpc
