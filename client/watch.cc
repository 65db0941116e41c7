#include <chrono>
#include <cstdio>
#include <future>
#include <map>
#include <set>
#include <stop_token>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "client/interrupts.h"
#include "client/rewatch.h"
#include "client/session.h"
#include "oauthvault/v1/credentials.pb.h"

namespace oauthvault::client {
namespace {

using std::chrono::milliseconds;

/// How often Ctrl-C is looked at.
constexpr milliseconds kTick{200};

/// Prints events. Each stream begins with the present state, of which only that is printed which
/// was not printed before.
class Teller {
 public:
  explicit Teller(Style style) : style_(style) {}

  void BeginStream() { present_.clear(); }

  Outcome<void> Tell(const v1::CredentialsEvent& event) {
    if (event.has_standing()) {
      const v1::CredentialsInfo& info = event.standing();
      const std::string what = What(info);
      present_.insert(info.id());
      if (std::exchange(known_[info.id()], what) == what) return {};
      return Print(event, info.id() + "  " + what);
    }
    if (event.has_absent_id()) return TellAbsent(event.absent_id());
    for (const std::string& id : Missing()) {
      if (auto told = TellAbsent(id); !told) return told;
    }
    if (std::exchange(caught_up_, true)) return {};
    return Print(event, "(this is the present state; changes follow)");
  }

 private:
  static std::string What(const v1::CredentialsInfo& info) {
    if (info.damaged()) return "damaged";
    return "version " + std::to_string(info.version()) + ", stored " + info.created() + 'Z';
  }

  /// What is known and was not told of as the present state: deleted meanwhile.
  std::vector<std::string> Missing() const {
    std::vector<std::string> missing;
    for (const auto& [id, what] : known_) {
      if (what != kAbsent && !present_.contains(id)) missing.push_back(id);
    }
    return missing;
  }

  Outcome<void> TellAbsent(const std::string& id) {
    if (std::exchange(known_[id], kAbsent) == kAbsent) return {};
    v1::CredentialsEvent event;
    event.set_absent_id(id);
    return Print(event, id + "  " + kAbsent);
  }

  Outcome<void> Print(const v1::CredentialsEvent& event, const std::string& for_people) const {
    if (style_ == Style::kPeople) return WriteOut(Printable(for_people) + '\n');
    nlohmann::ordered_json line = nlohmann::ordered_json::object();
    if (event.has_standing()) line["standing"] = AsJson(event.standing());
    if (event.has_absent_id()) line["absent_id"] = event.absent_id();
    if (event.has_caught_up()) line["caught_up"] = true;
    return WriteOut(RenderOne(line, style_));
  }

  static constexpr const char* kAbsent = "not there";

  const Style style_;
  std::map<std::string, std::string> known_;  // an id, and what was printed of it
  std::set<std::string> present_;             // ids that this stream has told of
  bool caught_up_ = false;
};

/// Whether a stream that ended so is begun again: one that was never heard of is not, for a wrong
/// address fails at once.
bool GoesOn(const Outcome<void>& watched) {
  return watched || watched.error().code == Code::kUnavailable ||
         watched.error().code == Code::kExhausted;
}

Outcome<void> WatchOn(std::stop_token stop, Vault& vault,
                      const v1::WatchCredentialsRequest& request, Teller& teller) {
  Rewatch rewatch(stop);
  bool heard = false;
  while (true) {
    Outcome<void> told;
    teller.BeginStream();
    auto watched = vault.WatchCredentials(request, stop, [&](const v1::CredentialsEvent& event) {
      heard = true;
      rewatch.Heard();
      told = teller.Tell(event);
      return told.has_value();
    });
    if (!told) return told;
    if (stop.stop_requested()) return {};
    if (!heard || !rewatch.MayGoOn() || !GoesOn(watched)) return watched;
    rewatch.Pause();
  }
}

Outcome<void> WatchPair(Session& run, const v1::WatchCredentialsRequest& request) {
  auto vault = run.Reach();
  if (!vault) return Refuse(std::move(vault));
  const Interrupts interrupts;
  Teller teller(run.style);
  std::promise<Outcome<void>> promise;
  std::future<Outcome<void>> ended = promise.get_future();
  const std::jthread watcher([&](std::stop_token stop) {
    promise.set_value(WatchOn(std::move(stop), **vault, request, teller));
  });
  while (ended.wait_for(kTick) != std::future_status::ready) {
    if (!interrupts.Came()) continue;
    run.exit_code = kInterruptedExit;
    return {};
  }
  return ended.get();
}

}  // namespace

void AddWatchVerb(CLI::App& credentials, Session& session) {
  const auto request = NewRequest<v1::WatchCredentialsRequest>();
  const auto ids = std::make_shared<std::vector<std::string>>();
  CLI::App& verb = AddVerb(
      credentials, session,
      {"watch", "What the credentials are, and then each new version and deletion; never secrets",
       "oauthvault credentials watch --project 123 --component acme.ex-drive"},
      [request, ids](Session& run) {
        request->mutable_ids()->Assign(ids->begin(), ids->end());
        return WatchPair(run, *request);
      });
  verb.add_option("ID", *ids, "The oauth id, or up to 64; all when not given");
  AddPair(verb, *request);
}

}  // namespace oauthvault::client
