#include "tests/fakes/rivery/fault.h"

#include <array>
#include <cstddef>

namespace oauthvault::fakes {
namespace {

constexpr std::array kOperations = std::to_array<OperationRow>({
    {Operation::kListTypes, "list_types"},
    {Operation::kGetType, "get_type"},
    {Operation::kGetProperties, "get_properties"},
    {Operation::kOauth2Start, "oauth2_start"},
    {Operation::kOauth2Fetch, "oauth2_fetch"},
    {Operation::kCreate, "create"},
    {Operation::kUpdate, "update"},
    {Operation::kList, "list"},
    {Operation::kGet, "get"},
    {Operation::kDelete, "delete"},
    {Operation::kShareLink, "share_link"},
    {Operation::kMe, "me"},
});

constexpr std::array kFaults = std::to_array<FaultRow>({
    {Fault::kCommitThenDrop, "commit_then_drop", true},
    {Fault::kCommitThen502, "commit_then_502", true},
    {Fault::kCommitLate, "commit_late", true},
    {Fault::kDropThenCommitLate, "drop_then_commit_late", true},
    {Fault::kResetBeforeCommit, "reset_before_commit", false},
    {Fault::kResetAfterCommit, "reset_after_commit", true},
    {Fault::kOkWithCode402, "ok_with_code_402", false},
    {Fault::kUnauthorized, "unauthorized", false},
    {Fault::kForbidden, "forbidden", false},
    {Fault::kRateLimited, "rate_limited", false},
    {Fault::kRateLimitedRetryAfter, "rate_limited_retry_after", false},
    {Fault::kHtml500, "html_500", false},
    {Fault::kHtml502, "html_502", false},
    {Fault::kTruncatedJson, "truncated_json", true},
    {Fault::kWrongContentLength, "wrong_content_length", true},
    {Fault::kSlowDrip, "slow_drip", true},
    {Fault::kRedirectElsewhere, "redirect_elsewhere", false},
    {Fault::kNextPageElsewhere, "next_page_elsewhere", true},
    {Fault::kHugeBody, "huge_body", true},
});

static_assert(kOperations.size() == kOperationCount);
static_assert(kFaults.size() == static_cast<std::size_t>(Fault::kHugeBody) + 1);

}  // namespace

std::span<const OperationRow> Operations() { return kOperations; }

std::span<const FaultRow> Faults() { return kFaults; }

std::string_view NameOf(Operation operation) {
  return kOperations[static_cast<std::size_t>(operation)].name;
}

const FaultRow& RowOf(Fault fault) { return kFaults[static_cast<std::size_t>(fault)]; }

std::optional<Operation> ParseOperation(std::string_view name) {
  for (const OperationRow& row : kOperations) {
    if (row.name == name) return row.operation;
  }
  return std::nullopt;
}

std::optional<Fault> ParseFault(std::string_view name) {
  for (const FaultRow& row : kFaults) {
    if (row.name == name) return row.fault;
  }
  return std::nullopt;
}

}  // namespace oauthvault::fakes
