#pragma once

#include <array>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <ostream>
#include <string>
#include <string_view>
#include <vector>

#include "crypto/error.h"
#include "tests/fakes/rivery/fault.h"
#include "tests/fakes/rivery/knobs.h"
#include "tests/fakes/rivery/vendor.h"

struct MHD_Daemon;

namespace oauthvault::fakes {

/// The last so many bodies are kept.
inline constexpr std::size_t kMaxReceived = 20'000;

/// The vendor on a loopback socket, with a queue of faults. Listens on 127.0.0.1 only. Every
/// method may be called from any thread while requests run.
class StandIn {
 public:
  struct Options {
    std::uint16_t port = 0;  ///< 0: a free one
    std::vector<ApiToken> tokens;
    Knobs knobs = {};
    std::ostream* log = nullptr;  ///< a line per request: method, path, status. Outlives the server
  };

  /// Listens and serves. Invalid: no token. Unavailable: the port cannot be had.
  static Result<std::unique_ptr<StandIn>> Start(Options options);

  /// Stops.
  ~StandIn();
  StandIn(const StandIn&) = delete;
  StandIn& operator=(const StandIn&) = delete;

  /// Wakes every waiting fault, ends every connection, and waits for it. A late commit that still
  /// waits does not happen. Again: nothing.
  void Stop();

  /// `http://127.0.0.1:PORT`.
  const std::string& Origin() const { return origin_; }
  /// `http://127.0.0.1:PORT/api`: what a client is configured with.
  const std::string& BaseUrl() const { return base_url_; }

  /// Puts a fault at the end of the queue.
  void AddFault(const PlannedFault& fault);
  /// Empties the queue.
  void ClearFaults();

  void SetKnobs(const Knobs& knobs) { vendor_.SetKnobs(knobs); }
  Knobs GetKnobs() const { return vendor_.GetKnobs(); }
  /// Moves the clock of consents forward.
  void AdvanceClock(std::chrono::seconds by) { vendor_.AdvanceClock(by); }
  /// Clicks on the consent page behind `auth_uri`. False: unknown, decided before, or too late.
  bool Click(std::string_view auth_uri, Decision decision);

  /// What was written and what was asked: `connections` and `attempts` as in `Vendor::State`,
  /// `requests` (a count per operation, faults included), `faults_left`, and `elsewhere`: how many
  /// requests came to the other origin, and how many of them carried a token.
  Json State() const;
  /// What came with a body, the oldest first, faults included: `[{"operation","body"}, ..]`. The
  /// last kMaxReceived of them; a body that is no JSON object is null.
  Json Received() const;

 private:
  /// The side that libmicrohttpd calls.
  struct Wire;

  explicit StandIn(Options options);

  Reply Control(const Request& request);
  std::optional<PlannedFault> TakeFault(Operation operation);
  /// Counts it, and keeps its body.
  void Note(Operation operation, const Request& request);
  void Log(const Request& request, std::string_view outcome);
  /// Waits; false: the server stops.
  bool Sleep(std::chrono::milliseconds time);

  Vendor vendor_;
  std::ostream* const log_;
  std::string origin_;
  std::string base_url_;
  std::string elsewhere_;  ///< the same server under its other name, which is another origin
  MHD_Daemon* daemon_ = nullptr;

  mutable std::mutex mutex_;  ///< guards everything below
  std::condition_variable stopped_;
  bool stopping_ = false;
  std::deque<PlannedFault> faults_;
  std::array<std::uint64_t, kOperationCount> requests_{};
  std::deque<Json> received_;
  std::uint64_t elsewhere_requests_ = 0;
  std::uint64_t elsewhere_with_token_ = 0;
};

}  // namespace oauthvault::fakes
