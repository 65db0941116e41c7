#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

namespace oauthvault::fakes {

/// What a request asks for, whichever of several routes it took.
enum class Operation : std::uint8_t {
  kListTypes,
  kGetType,
  kGetProperties,
  kOauth2Start,
  kOauth2Fetch,
  kCreate,
  kUpdate,
  kList,
  kGet,
  kDelete,
  kShareLink,
  kMe,
};
/// How many operations there are.
inline constexpr std::size_t kOperationCount = static_cast<std::size_t>(Operation::kMe) + 1;

/// How one call goes wrong. The table in fault.cc gives each its name and says what it does.
enum class Fault : std::uint8_t {
  kCommitThenDrop,
  kCommitThen502,
  kCommitLate,
  kDropThenCommitLate,
  kResetBeforeCommit,
  kResetAfterCommit,
  kOkWithCode402,
  kUnauthorized,
  kForbidden,
  kRateLimited,
  kRateLimitedRetryAfter,
  kHtml500,
  kHtml502,
  kTruncatedJson,
  kWrongContentLength,
  kSlowDrip,
  kRedirectElsewhere,
  kNextPageElsewhere,
  kHugeBody,
};

/// One row of the table of operations.
struct OperationRow {
  Operation operation;
  std::string_view name;  ///< as control routes and the state page write it
};

/// One row of the table of faults.
struct FaultRow {
  Fault fault;
  std::string_view name;  ///< as control routes write it
  bool commits;           ///< the operation takes effect, sooner or later
};

/// Every operation, in the order of the enumeration.
std::span<const OperationRow> Operations();

/// Every fault, in the order of the enumeration.
std::span<const FaultRow> Faults();

/// The name of an operation.
std::string_view NameOf(Operation operation);

/// The row of a fault.
const FaultRow& RowOf(Fault fault);

/// The operation of that name, or nothing.
std::optional<Operation> ParseOperation(std::string_view name);

/// The fault of that name, or nothing.
std::optional<Fault> ParseFault(std::string_view name);

/// The time that a late commit waits when the plan names none.
inline constexpr std::chrono::milliseconds kDefaultLateness{1000};
/// The time between two bytes of a slow drip when the plan names none.
inline constexpr std::chrono::milliseconds kDefaultDrip{50};
/// What `Retry-After` says when the plan names nothing.
inline constexpr std::chrono::seconds kDefaultRetryAfter{7};
/// The size of the body that `huge_body` sends.
inline constexpr std::size_t kHugeBodyBytes = std::size_t{10} * 1024 * 1024;
/// By how much `wrong_content_length` promises more than it sends.
inline constexpr std::size_t kMissingBytes = 100;

/// A fault in the queue. The first one whose operation fits is used up by a request.
struct PlannedFault {
  std::optional<Operation> operation;  ///< nothing: whatever comes next
  Fault fault = Fault::kHtml500;
  unsigned times = 1;                                    ///< for so many requests, at least 1
  std::optional<std::chrono::milliseconds> delay = {};   ///< lateness, or time between two bytes
  std::chrono::seconds retry_after = kDefaultRetryAfter; ///< for `rate_limited_retry_after`
};

}  // namespace oauthvault::fakes
