#include "client/session.h"
#include "oauthvault/v1/operations.pb.h"

namespace oauthvault::client {
namespace {

std::string ForPeople(const v1::CheckResponse& found) {
  std::string text = "rows: " + std::to_string(found.rows()) +
                     "\ngeneration: " + std::to_string(found.generation()) + '\n';
  for (const auto& problem : found.problems()) {
    if (!problem.row_key().empty()) text += "row " + Printable(problem.row_key()) + ": ";
    text += Printable(problem.what()) + '\n';
  }
  if (found.whole()) text += "every row opens, and the store is whole\n";
  return text;
}

Outcome<void> Check(Session& run, v1::CheckRequest& request) {
  run.AllowLong();
  auto found = run.Call(request);
  if (!found) return Refuse(std::move(found));
  auto written = WriteOut(run.style == Style::kJson ? RenderOne(AsJson(*found), run.style)
                                                    : ForPeople(*found));
  if (!written || found->whole()) return written;
  return Refuse(Code::kCorrupt, "the store is damaged");
}

}  // namespace

void AddCheckVerb(CLI::App& app, Session& session) {
  const auto request = NewRequest<v1::CheckRequest>();
  AddVerb(app, session,
          {"check", "Read and open every row; exit 2 when the store is damaged",
           "oauthvault check"},
          [request](Session& run) { return Check(run, *request); });
}

}  // namespace oauthvault::client
