#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "crypto/fields.h"
#include "daemon/http/routes.h"
#include "daemon/http/sealing.h"
#include "daemon/http/stories.h"
#include "storage/names.h"

namespace oauthvault::http {
namespace {

// What the query says: Keboola's names. The edge has decided about component and project.
Result<SealFor> AskedBy(const Request& request) {
  SealFor asked;
  for (const auto& [name, escaped] : request.query) {
    std::string value = Decode(escaped, true).value_or(std::string());
    if (name == "componentId") continue;
    if (name == "projectId") {
      asked.in_project = true;
    } else if (name == "configId") {
      if (!IsValidId(value)) return Fail(Code::kInvalid, "the query's configId is no id");
      asked.configuration = std::move(value);
    } else if (name == "branchType") {
      if (value != "default" && value != "dev") {
        return Fail(Code::kInvalid, "the query's branchType is default or dev");
      }
      asked.branch_type = std::move(value);
    } else {
      return Fail(Code::kInvalid,
                  "the query takes componentId, projectId, configId and branchType");
    }
  }
  if (asked.configuration && asked.branch_type) {
    return Fail(Code::kInvalid, "the query has one of configId and branchType");
  }
  if ((asked.configuration || asked.branch_type) && !asked.in_project) {
    return Fail(Code::kInvalid, "configId and branchType stand beside a projectId");
  }
  asked.as_text = request.content_type.starts_with("text/plain");
  return asked;
}

}  // namespace

Result<Reply> SealBody(Visit& visit) {
  if (!visit.vault->sealing.seal) return SealsNothing(visit);
  auto asked = AskedBy(visit.request);
  if (!asked) return Fail(std::move(asked));
  auto sealed = visit.vault->sealing.seal(*visit.permit, *asked, visit.request.body);
  if (!sealed) return Fail(std::move(sealed));
  Reply reply;
  if (asked->as_text) reply.content_type = "text/plain";
  reply.body = sealed->Expose([](std::span<const std::uint8_t> bytes) {
    return std::string(crypto::AsField(bytes));
  });
  return reply;
}

}  // namespace oauthvault::http
