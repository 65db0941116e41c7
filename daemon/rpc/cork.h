#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <mutex>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace oauthvault::rpc {

/// Lets the answers of one batch that go to the same connection leave in a few packets: gRPC writes
/// each by itself, and the kernel's way through TCP is a good part of what an answer costs. From
/// its first answer on a connection is corked (TCP_CORK) until the batch is over. One that left at
/// once would wake its caller, whose next call then comes alone, and with it a batch of few lines.
///
/// Nobody tells when gRPC closes a connection, so a number may belong to another one meanwhile, or
/// to another file. A cork there changes nothing but when its bytes leave, by the time that a batch
/// takes; so does one on the connection of somebody else's peer who has the same port.
class Corks {
 public:
  Corks() = default;
  Corks(const Corks&) = delete;
  Corks& operator=(const Corks&) = delete;

  /// A connection whose answers may be corked, before gRPC has it. Of TCP; others are left alone.
  /// Threads: any.
  void Add(int connection);

  /// Calls `answer_all`; what it answers, on this thread, is one batch. One batch at a time.
  void Around(const std::function<void()>& answer_all);

  /// Whether this thread answers a batch now.
  static bool IsInBatch();
  /// In a batch: an answer is about to leave for `peer`, as gRPC names it.
  static void BeforeAnswerTo(std::string_view peer);

  /// So many answers were corked. Threads: any.
  std::uint64_t Corked() const { return corked_answers_; }

 private:
  struct Peer {
    int connection = 0;
    std::uint64_t corked_in = 0;  // the batch
  };
  void BeforeAnswerFor(std::uint16_t port);

  std::mutex guard_;  // guards peers_
  std::unordered_map<std::uint16_t, Peer> peers_;  // by the port that they call from
  // Of the thread that answers.
  std::uint64_t batch_ = 0;
  std::vector<int> corked_;  // in this batch
  std::atomic<std::uint64_t> corked_answers_ = 0;
};

}  // namespace oauthvault::rpc
