#include "daemon/rpc/audit_service.h"

#include <algorithm>
#include <charconv>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "crypto/hex.h"
#include "daemon/audit/extract.h"
#include "daemon/audit/find.h"
#include "daemon/custody/fingerprints.h"
#include "daemon/custody/store.h"

namespace oauthvault::rpc {
namespace {

// The last sequence of the page before; 0 for the first page.
Result<std::uint64_t> AfterOf(const std::string& token) {
  std::uint64_t after = 0;
  const auto [end, wrong] = std::from_chars(token.data(), token.data() + token.size(), after);
  if (!token.empty() && (wrong != std::errc() || end != token.data() + token.size())) {
    return Fail(Code::kInvalid, "this page token is not from the audit trail");
  }
  return after;
}

std::size_t PageSizeOf(std::uint32_t asked) {
  return asked == 0 ? storage::kDefaultPageSize
                    : std::min<std::size_t>(asked, storage::kMaxPageSize);
}

template <class Answer>
void AddLines(Answer& answer, std::vector<audit::Line>& lines) {
  for (audit::Line& line : lines) {
    v1::AuditLine* written = answer.add_lines();
    written->set_sequence(line.sequence);
    written->set_json(std::move(line.json));
  }
}

}  // namespace

void AuditService::AddTo(Methods& methods) {
  methods.Add("Audit.Show", *this, &AuditService::Show);
  methods.Add("Audit.Verify", *this, &AuditService::Verify);
  methods.Add("Audit.Find", *this, &AuditService::Find);
  methods.Add("Audit.Checkpoint", *this, &AuditService::Checkpoint);
  methods.Add("Audit.Extract", *this, &AuditService::Extract);
}

void AuditService::Show(Call& call) {
  edge_.Serve<v1::ShowAuditRequest, v1::ShowAuditResponse>(
      call, workers_, [this](Admitted&, const auto& asked, auto& answer) -> Result<void> {
        auto after = AfterOf(asked.page_token());
        if (!after) return Fail(std::move(after));
        if (asked.page_token().empty() && asked.newest() > 0) {
          const std::uint64_t last = edge_.GetTrail().LastSequence();
          *after = last - std::min(last, asked.newest());
        }
        const std::size_t size = PageSizeOf(asked.page_size());
        auto lines = edge_.GetTrail().Show(*after, size);
        if (!lines) return Fail(std::move(lines));
        AddLines(answer, *lines);
        if (lines->size() == size && lines->back().sequence < edge_.GetTrail().LastSequence()) {
          answer.set_next_page_token(std::to_string(lines->back().sequence));
        }
        return {};
      });
}

void AuditService::Verify(Call& call) {
  edge_.Serve<v1::VerifyAuditRequest, v1::VerifyAuditResponse>(
      call, workers_, [this](Admitted&, const auto&, auto& answer) -> Result<void> {
        auto verdict = edge_.GetTrail().Verify();
        if (!verdict) return Fail(std::move(verdict));
        answer.set_lines(verdict->lines);
        answer.set_first_sequence(verdict->first_sequence);
        answer.set_last_sequence(verdict->last_sequence);
        answer.set_proven_sequence(verdict->proven_sequence);
        for (const auto& problem : verdict->problems) {
          v1::AuditProblem* written = answer.add_problems();
          written->set_line_number(problem.line_number);
          written->set_what(problem.what);
        }
        return {};
      });
}

void AuditService::Find(Call& call) {
  edge_.Serve<v1::FindAuditRequest, v1::FindAuditResponse>(
      call, workers_, [this](Admitted&, const auto& asked, auto& answer) -> Result<void> {
        if (asked.value().empty() || asked.value().size() > custody::kMaxDataSize) {
          return Fail(Code::kInvalid, "a value to find has 1 to 65,536 bytes");
        }
        auto after = AfterOf(asked.page_token());
        if (!after) return Fail(std::move(after));
        auto segments = edge_.GetTrail().Segments();
        if (!segments) return Fail(std::move(segments));
        const auto value = crypto::SecretBytes::CopyOf(asked.value());
        auto shown = audit::FindShown(
            *segments, *after, PageSizeOf(asked.page_size()), [&](std::string_view project) {
              return custody::TextOf(std::vector<std::string>{
                  custody::FingerprintOf(store_.FingerprintKey(), project, value)});
            });
        if (!shown) return Fail(std::move(shown));
        AddLines(answer, shown->lines);
        if (!shown->at_end) answer.set_next_page_token(std::to_string(shown->searched_to));
        return {};
      });
}

void AuditService::Checkpoint(Call& call) {
  edge_.Serve<v1::CheckpointRequest, v1::CheckpointResponse>(
      call, workers_, [this](Admitted&, const auto& asked, auto& answer) -> Result<void> {
        audit::Trail& trail = edge_.GetTrail();
        std::string note;
        if (asked.close()) {
          auto closed = trail.CloseSegment();
          if (!closed) return Fail(std::move(closed));
          note = *std::move(closed);
        } else {
          note = trail.Checkpoint();
        }
        auto checkpoint = trail.PublicKey().Open(note);
        if (!checkpoint) return Fail(std::move(checkpoint));
        answer.set_public_key(trail.PublicKey().Text());
        answer.set_size(checkpoint->size);
        answer.set_checkpoint(std::move(note));
        if (asked.since() == 0) return {};
        auto segments = trail.Segments();
        if (!segments) return Fail(std::move(segments));
        auto proof = audit::ConsistencyProof(*segments, asked.since(), checkpoint->size);
        if (!proof) return Fail(std::move(proof));
        for (const audit::TreeHash& hash : *proof) answer.add_consistency(crypto::HexOf(hash));
        return {};
      });
}

void AuditService::Extract(Call& call) {
  edge_.Serve<v1::ExtractAuditRequest, v1::ExtractAuditResponse>(
      call, workers_, [this](Admitted&, const auto& asked, auto& answer) -> Result<void> {
        auto project = ProjectId::Parse(asked.project());
        if (!project) return Fail(std::move(project));
        audit::Trail& trail = edge_.GetTrail();
        auto segments = trail.Segments();
        if (!segments) return Fail(std::move(segments));
        auto page = audit::ExtractOf(*segments, trail.Folder(), trail.PublicKey(),
                                     project->Str(), asked.page_token());
        if (!page) return Fail(std::move(page));
        for (std::string& record : page->records) answer.add_records(std::move(record));
        answer.set_next_page_token(std::move(page->next));
        return {};
      });
}

}  // namespace oauthvault::rpc
