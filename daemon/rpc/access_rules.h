#pragma once

#include <chrono>
#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>

#include "crypto/error.h"
#include "daemon/access/decide.h"
#include "daemon/audit/call_line.h"

namespace oauthvault::rpc {

/// The bounds of a call whose method names none.
inline constexpr std::size_t kDefaultRequestBytes = 32 * 1024;
inline constexpr std::chrono::seconds kDefaultDeadline{60};

/// The access rule of one method, and the bounds of a call, read from its options in the .proto.
struct Rule {
  std::string act;  ///< `Registry.AddProject`, as in audit lines
  access::Right right;
  audit::LineRule lines;
  std::size_t max_request_bytes = kDefaultRequestBytes;
  std::chrono::seconds max_deadline = kDefaultDeadline;  ///< how far ahead at most
  bool needs_deadline = true;                            ///< all but streams
};

/// The rules of all methods of the contract. Threads: any, once made.
class AccessRules {
 public:
  /// Reads the options of every method of `services` (full names, `oauthvault.v1.Registry`).
  /// Errors: Invalid when a service is unknown or a method has no rule; the daemon does not start.
  static Result<AccessRules> FromContract(std::span<const std::string_view> services);

  /// The rule of `Service.Method`. Asking for a method that is not in the contract ends the
  /// process.
  const Rule& Of(std::string_view act) const;

  std::size_t Size() const { return rules_.size(); }

 private:
  std::unordered_map<std::string_view, Rule> rules_;  // keyed by Rule::act
};

/// The services of the contract, all of which the daemon serves.
std::span<const std::string_view> ContractServices();

}  // namespace oauthvault::rpc
