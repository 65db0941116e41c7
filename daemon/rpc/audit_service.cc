#include "daemon/rpc/audit_service.h"

#include <algorithm>
#include <charconv>
#include <string>
#include <utility>

namespace oauthvault::rpc {

grpc::ServerUnaryReactor* AuditService::Show(grpc::CallbackServerContext* call,
                                             const v1::ShowAuditRequest* request,
                                             v1::ShowAuditResponse* response) {
  return edge_.Serve(
      call, "Audit.Show", workers_, request, response,
      [this](Admitted&, const auto& asked, auto& answer) -> Result<void> {
        // The token is the last sequence of the page before.
        std::uint64_t after = 0;
        const std::string& token = asked.page_token();
        const auto [end, wrong] =
            std::from_chars(token.data(), token.data() + token.size(), after);
        if (!token.empty() && (wrong != std::errc() || end != token.data() + token.size())) {
          return Fail(Code::kInvalid, "this page token is not from the audit trail");
        }
        const std::size_t size =
            asked.page_size() == 0
                ? storage::kDefaultPageSize
                : std::min<std::size_t>(asked.page_size(), storage::kMaxPageSize);
        auto lines = edge_.GetTrail().Show(after, size);
        if (!lines) return Fail(std::move(lines));
        for (audit::Line& line : *lines) {
          v1::AuditLine* written = answer.add_lines();
          written->set_sequence(line.sequence);
          written->set_json(std::move(line.json));
        }
        if (lines->size() == size && lines->back().sequence < edge_.GetTrail().LastSequence()) {
          answer.set_next_page_token(std::to_string(lines->back().sequence));
        }
        return {};
      });
}

grpc::ServerUnaryReactor* AuditService::Verify(grpc::CallbackServerContext* call,
                                               const v1::VerifyAuditRequest* request,
                                               v1::VerifyAuditResponse* response) {
  return edge_.Serve(call, "Audit.Verify", workers_, request, response,
                     [this](Admitted&, const auto&, auto& answer) -> Result<void> {
                       auto verdict = edge_.GetTrail().Verify();
                       if (!verdict) return Fail(std::move(verdict));
                       answer.set_lines(verdict->lines);
                       answer.set_first_sequence(verdict->first_sequence);
                       answer.set_last_sequence(verdict->last_sequence);
                       for (const auto& problem : verdict->problems) {
                         v1::AuditProblem* written = answer.add_problems();
                         written->set_line_number(problem.line_number);
                         written->set_what(problem.what);
                       }
                       return {};
                     });
}

}  // namespace oauthvault::rpc
