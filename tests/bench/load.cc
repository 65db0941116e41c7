// The load: prepared requests over HTTP/2, cheaper to send than any server is to ask. One thread.
//   load calls     calls as fast as answers come (closed loop), or at a fixed rate (open loop)
//   load connects  a new connection for each call
//   load holds     connections that do nothing
//   load first     one call, tried again until somebody listens and answers
// Prints one JSON object. Exit code 1: it could not be measured; 0 also where calls failed, which
// the object tells.
#include <CLI/CLI.hpp>
#include <arpa/inet.h>
#include <nlohmann/json.hpp>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/un.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "tests/bench/connection.h"
#include "tests/bench/meter.h"
#include "tests/bench/picker.h"
#include "tests/bench/record.h"
#include "tests/bench/requests.h"

namespace oauthvault::bench {
namespace {

constexpr std::int64_t kSecond = 1'000'000'000;
constexpr std::int64_t kConnectPatience = 30 * kSecond;
constexpr std::int64_t kPatienceOfEach = kSecond / 25;  // of many handshakes
constexpr std::int64_t kDrainPatience = 2 * kSecond;
constexpr std::size_t kAskedAtOnce = 64;

struct Options {
  std::string address;
  std::string unix_path;
  std::string ca;
  std::string certificate;
  std::string key;
  std::string name = "localhost";
  std::string path = "/";
  std::string requests;
  std::string timeout = "30S";
  bool get = false;
  std::size_t connections = 1;
  std::size_t in_flight = 1;
  double seconds = 2;
  double warm_up = 0.5;
  double rate = 0;
  double skew = 0;
  bool in_order = false;
  std::uint64_t seed = 1;
  std::vector<pid_t> servers;
  int timeline_ms = 0;
  bool resume = false;
};

[[noreturn]] void Stop(const std::string& why) { throw std::runtime_error(why); }

std::int64_t InNs(double seconds) { return static_cast<std::int64_t>(seconds * 1e9); }

// ---- whom to call -------------------------------------------------------------------------------

SSL_SESSION*& LastSession() {
  static SSL_SESSION* session = nullptr;
  return session;
}

SSL_CTX* TlsOf(const Options& options) {
  SSL_CTX* tls = SSL_CTX_new(TLS_client_method());
  SSL_CTX_set_mode(tls, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  SSL_CTX_set_verify(tls, SSL_VERIFY_PEER, nullptr);
  // Several records with one call of the kernel.
  SSL_CTX_set_read_ahead(tls, 1);
  SSL_CTX_set_default_read_buffer_len(tls, 64 * 1024);
  constexpr std::array<std::uint8_t, 3> kH2 = {2, 'h', '2'};
  if (SSL_CTX_load_verify_locations(tls, options.ca.c_str(), nullptr) != 1 ||
      SSL_CTX_use_certificate_chain_file(tls, options.certificate.c_str()) != 1 ||
      SSL_CTX_use_PrivateKey_file(tls, options.key.c_str(), SSL_FILETYPE_PEM) != 1 ||
      SSL_CTX_set_alpn_protos(tls, kH2.data(), kH2.size()) != 0) {
    const char* reason = ERR_reason_error_string(ERR_peek_last_error());
    Stop(std::string("certificates: ") + (reason != nullptr ? reason : "unusable"));
  }
  if (options.resume) {
    SSL_CTX_set_session_cache_mode(tls, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(tls, [](SSL*, SSL_SESSION* session) {
      SSL_SESSION_free(std::exchange(LastSession(), session));
      return 1;
    });
  }
  return tls;
}

Target TargetOf(const Options& options) {
  Target target;
  if (!options.unix_path.empty()) {
    auto& address = reinterpret_cast<sockaddr_un&>(target.address);
    address.sun_family = AF_UNIX;
    if (options.unix_path.size() >= sizeof address.sun_path) Stop("the path is too long");
    std::memcpy(address.sun_path, options.unix_path.c_str(), options.unix_path.size() + 1);
    target.address_size = sizeof address;
  } else {
    auto& address = reinterpret_cast<sockaddr_in&>(target.address);
    const std::size_t colon = options.address.find(':');
    address.sin_family = AF_INET;
    if (colon == std::string::npos ||
        inet_pton(AF_INET, options.address.substr(0, colon).c_str(), &address.sin_addr) != 1) {
      Stop("--address takes a numeric IPv4 address and a port");
    }
    const int port = std::stoi(options.address.substr(colon + 1));
    address.sin_port = htons(static_cast<std::uint16_t>(port));
    target.address_size = sizeof address;
    target.tls = TlsOf(options);
  }
  target.name = options.name;
  target.expects_grpc_status = !options.get;
  target.head = {{":method", options.get ? "GET" : "POST"},
                 {":scheme", target.tls != nullptr ? "https" : "http"},
                 {":path", options.path},
                 {":authority", options.name}};
  if (!options.get) {
    target.head.insert(target.head.end(), {{"te", "trailers"},
                                           {"content-type", "application/grpc"},
                                           {"grpc-timeout", options.timeout}});
  }
  return target;
}

Requests RequestsOf(const Options& options) {
  if (options.get) return Requests();
  return Requests(options.requests);
}

// ---- the loops ----------------------------------------------------------------------------------

class Epoll {
 public:
  Epoll() : file_(epoll_create1(EPOLL_CLOEXEC)) {}
  int File() const { return file_; }
  // Tells the connections; waits for at most so long.
  void Turn(std::int64_t patience_ns) {
    std::array<epoll_event, 64> events;
    const std::int64_t wait_ns = std::max<std::int64_t>(0, patience_ns);
    const timespec wait{wait_ns / kSecond, wait_ns % kSecond};
    const int count = epoll_pwait2(file_, events.data(), events.size(), &wait, nullptr);
    for (int i = 0; i < count; ++i) {
      static_cast<Connection*>(events[static_cast<std::size_t>(i)].data.ptr)->OnEvents();
    }
  }

 private:
  const int file_;
};

using Connections = std::vector<std::unique_ptr<Connection>>;

void ExpectWhole(const Connections& connections) {
  for (const auto& connection : connections) {
    if (!connection->Failure().empty()) Stop(connection->Failure());
  }
}

// Opens them in turns, so that no server is asked for more handshakes at one time than it allows.
Connections OpenAll(const Target& target, std::size_t count, Epoll& epoll,
                    const Connection::OnAnswer& on_answer) {
  constexpr std::size_t kHandshakesAtOnce = 16;
  Connections connections;
  const std::int64_t end_ns =
      NowNs() + kConnectPatience + static_cast<std::int64_t>(count) * kPatienceOfEach;
  std::size_t open = 0;
  while (open < count) {
    while (connections.size() < std::min(count, open + kHandshakesAtOnce)) {
      connections.push_back(std::make_unique<Connection>(target, epoll.File(), on_answer));
    }
    epoll.Turn(kSecond);
    while (open < connections.size() && connections[open]->IsOpen()) ++open;
    for (std::size_t at = open; at < connections.size(); ++at) {
      if (!connections[at]->Failure().empty()) Stop(connections[at]->Failure());
    }
    if (NowNs() > end_ns) Stop("the connections were not open in time");
  }
  return connections;
}

nlohmann::json Calls(const Options& options) {
  const Target target = TargetOf(options);
  const Requests requests = RequestsOf(options);
  Picker picker(requests.Count(), options.skew, options.seed);
  const Meter meter(options.servers);
  Epoll epoll;

  // Calls begin or end within the window: from here on where its end is known, never before.
  std::int64_t window_ns = 0;
  std::int64_t window_end_ns = 0;
  bool ended = false;
  Record record;
  Timeline timeline(options.timeline_ms);
  std::size_t asked = 0;
  std::uint64_t answers = 0;
  const auto ask = [&](Connection& connection, std::int64_t began_ns) {
    const std::size_t next = options.in_order ? asked % requests.Count() : picker.Next();
    connection.Call(requests.At(next), began_ns);
    ++asked;
  };
  const bool open_loop = options.rate > 0;
  const auto on_answer = [&](Connection& connection, const Answer& answer) {
    const std::int64_t now_ns = NowNs();
    ++answers;
    // In an open loop it counts when the call was to begin; else when its answer came.
    const std::int64_t counted_ns = open_loop ? answer.began_ns : now_ns;
    if (window_end_ns != 0 && counted_ns >= window_ns && counted_ns < window_end_ns) {
      record.Note(answer, target, now_ns);
      timeline.Note(answer, target, counted_ns - window_ns, now_ns);
    }
    if (!open_loop && !ended) ask(connection, now_ns);
  };
  Connections connections = OpenAll(target, options.connections, epoll, on_answer);

  const std::int64_t start_ns = NowNs();
  window_ns = start_ns + InNs(options.warm_up);
  window_end_ns = window_ns + InNs(options.seconds);
  if (!open_loop) {
    for (std::size_t at = 0; at < options.in_flight; ++at) {
      ask(*connections[at % connections.size()], NowNs());
    }
    for (auto& connection : connections) connection->Flush();
  }
  const double interval_ns = open_loop ? 1e9 / options.rate : 0;
  std::uint64_t sent = 0;
  std::optional<std::int64_t> own_cpu_ns;
  std::int64_t servers_cpu_ns = 0;
  std::int64_t really_began_ns = 0;
  std::int64_t now_ns = NowNs();
  while (now_ns < window_end_ns) {
    if (now_ns >= window_ns && !own_cpu_ns) {
      own_cpu_ns = Meter::OwnCpuNs();
      servers_cpu_ns = meter.CpuNs();
      really_began_ns = now_ns;
    }
    std::int64_t next_ns = own_cpu_ns ? window_end_ns : window_ns;
    if (open_loop) {
      const auto due_ns = [&] {
        return start_ns + static_cast<std::int64_t>(static_cast<double>(sent) * interval_ns);
      };
      for (; due_ns() <= now_ns; ++sent) {
        Connection& connection = *connections[sent % connections.size()];
        ask(connection, due_ns());
        connection.Flush();
      }
      next_ns = std::min(next_ns, due_ns());
    }
    epoll.Turn(next_ns - now_ns);
    ExpectWhole(connections);
    now_ns = NowNs();
  }
  const std::int64_t own_ns = Meter::OwnCpuNs() - own_cpu_ns.value_or(0);
  const std::int64_t servers_ns = meter.CpuNs() - servers_cpu_ns;
  const std::uint64_t answered = record.Good() + record.Errors();
  const double seconds = static_cast<double>(now_ns - really_began_ns) / 1e9;
  const std::uint64_t resident = meter.MemoryBytes("VmRSS");
  const std::uint64_t anonymous = meter.MemoryBytes("RssAnon");
  ended = true;
  // Whoever has asked and gets no answer in time is an error of the server's.
  const auto outstanding = [&] {
    std::size_t sum = 0;
    for (const auto& connection : connections) sum += connection->Outstanding();
    return sum;
  };
  for (const std::int64_t end_ns = NowNs() + kDrainPatience; outstanding() > 0;) {
    const std::int64_t left_ns = end_ns - NowNs();
    if (left_ns <= 0) break;
    epoll.Turn(left_ns);
  }
  record.NoteLost(outstanding());
  nlohmann::json result = record.InJson(seconds);
  const double calls = static_cast<double>(std::max<std::uint64_t>(1, answered));
  result["server_cpu_us"] = static_cast<double>(servers_ns) / 1000 / calls;
  result["load_cpu_us"] = static_cast<double>(own_ns) / 1000 / calls;
  result["resident_bytes"] = resident;
  result["anonymous_bytes"] = anonymous;
  result["answers"] = answers;  // within the window and without
  result["tls"] = connections.front()->TlsText();
  if (options.timeline_ms > 0) result["timeline"] = timeline.InJson();
  return result;
}

nlohmann::json Connects(const Options& options) {
  const Target target = TargetOf(options);
  const Requests requests = RequestsOf(options);
  Picker picker(requests.Count(), options.skew, options.seed);
  const Meter meter(options.servers);
  Epoll epoll;
  Record record;
  std::uint64_t resumed = 0;
  std::int64_t window_ns = NowNs() + InNs(options.warm_up);
  const std::int64_t end_ns = window_ns + InNs(options.seconds);
  std::optional<std::int64_t> servers_cpu_ns;
  std::uint64_t failed = 0;
  // Answered ones end only behind the turn that told of it.
  const auto on_answer = [&](Connection& connection, const Answer& answer) {
    if (servers_cpu_ns) record.Note(answer, target, NowNs());
    resumed += connection.WasResumed() ? 1 : 0;
  };
  Connections connections(options.connections);
  while (NowNs() < end_ns) {
    if (!servers_cpu_ns && NowNs() >= window_ns) {
      servers_cpu_ns = meter.CpuNs();
      window_ns = NowNs();
      resumed = 0;
    }
    for (auto& connection : connections) {
      if (connection && !connection->Failure().empty()) ++failed;
      if (connection && connection->Outstanding() > 0 && connection->Failure().empty()) continue;
      connection.reset();
      const std::int64_t began_ns = NowNs();
      connection = std::make_unique<Connection>(target, epoll.File(), on_answer,
                                                options.resume ? LastSession() : nullptr);
      connection->Call(requests.At(picker.Next()), began_ns);
      connection->Flush();
    }
    epoll.Turn(end_ns - NowNs());
  }
  const std::int64_t servers_ns = meter.CpuNs() - servers_cpu_ns.value_or(0);
  record.NoteLost(failed);
  nlohmann::json result = record.InJson(static_cast<double>(NowNs() - window_ns) / 1e9);
  const double calls = static_cast<double>(std::max<std::uint64_t>(1, record.Good()));
  result["server_cpu_us"] = static_cast<double>(servers_ns) / 1000 / calls;
  result["resumed"] = resumed;
  return result;
}

nlohmann::json Holds(const Options& options) {
  const Target target = TargetOf(options);
  const Requests requests = RequestsOf(options);
  const Meter meter(options.servers);
  const std::uint64_t before = meter.MemoryBytes("VmRSS");
  Record record;
  Epoll epoll;
  Connections connections =
      OpenAll(target, options.connections, epoll, [&](Connection&, const Answer& answer) {
        record.Note(answer, target, NowNs());
      });
  const std::int64_t began_ns = NowNs();
  const std::int64_t servers_cpu_ns = meter.CpuNs();
  for (std::int64_t now_ns = began_ns; now_ns < began_ns + InNs(options.seconds);
       now_ns = NowNs()) {
    epoll.Turn(began_ns + InNs(options.seconds) - now_ns);
  }
  const std::int64_t servers_ns = meter.CpuNs() - servers_cpu_ns;
  const std::uint64_t held = meter.MemoryBytes("VmRSS");
  // A server may have closed some; each of the others is asked once, a few at one time.
  const auto was_closed = [](const auto& connection) { return !connection->Failure().empty(); };
  const std::size_t closed = std::erase_if(connections, was_closed);
  const std::int64_t asked_ns = NowNs();
  std::size_t asked = 0;
  while (NowNs() < asked_ns + kConnectPatience) {
    // Those that are closed while they are asked have no answer to wait for.
    const auto lost = static_cast<std::size_t>(std::ranges::count_if(
        connections.begin(), connections.begin() + static_cast<std::ptrdiff_t>(asked),
        was_closed));
    const std::size_t answered = record.Good() + record.Errors() + lost;
    if (answered >= connections.size()) break;
    for (; asked < std::min(connections.size(), answered + kAskedAtOnce); ++asked) {
      connections[asked]->Call(requests.At(asked % requests.Count()), NowNs());
      connections[asked]->Flush();
    }
    epoll.Turn(kSecond / 10);
  }
  nlohmann::json result = record.InJson(static_cast<double>(NowNs() - asked_ns) / 1e9);
  result["closed"] = closed;
  result["answered"] = record.Good();
  result["resident_before_bytes"] = before;
  result["resident_bytes"] = held;
  result["idle_cpu_share"] = static_cast<double>(servers_ns) / 1e9 / options.seconds;
  return result;
}

nlohmann::json First(const Options& options) {
  const Target target = TargetOf(options);
  const Requests requests = RequestsOf(options);
  Epoll epoll;
  std::optional<Answer> first;
  std::int64_t answered_ns = 0;
  const auto on_answer = [&](Connection&, const Answer& answer) {
    answered_ns = NowNs();
    if (answer.http_status == 200 && answer.grpc_status <= 0) first = answer;
  };
  const std::int64_t end_ns = NowNs() + kConnectPatience;
  while (!first) {
    if (NowNs() > end_ns) Stop("no answer in time");
    Connection connection(target, epoll.File(), on_answer);
    connection.Call(requests.At(0), NowNs());
    connection.Flush();
    while (connection.Failure().empty() && connection.Outstanding() > 0) epoll.Turn(kSecond);
    if (!first) epoll.Turn(kSecond / 2000);  // nobody listens yet; nothing is watched meanwhile
  }
  return {{"answered_at_ns", answered_ns}};
}

int Run(int count, char** words) {
  Options options;
  CLI::App app("Drives a server with prepared requests over HTTP/2.", "load");
  app.add_option("--address", options.address, "numeric IPv4 address and port, with mutual TLS");
  app.add_option("--unix", options.unix_path, "a unix socket instead, without TLS");
  app.add_option("--ca", options.ca);
  app.add_option("--cert", options.certificate);
  app.add_option("--key", options.key);
  app.add_option("--name", options.name, "in the server's certificate");
  app.add_option("--path", options.path, "of the method, or of the page")->take_last();
  app.add_option("--requests", options.requests, "gRPC frames, one behind the other")->take_last();
  app.add_option("--timeout", options.timeout, "grpc-timeout of each call");
  app.add_flag("--get", options.get, "GET the path, without a body; no gRPC");
  app.add_option("--connections", options.connections);
  app.add_option("--in-flight", options.in_flight, "over all connections");
  app.add_option("--seconds", options.seconds, "of the window");
  app.add_option("--warm-up", options.warm_up, "seconds before the window");
  app.add_option("--rate", options.rate, "calls a second, whatever the answers do: an open loop");
  app.add_option("--skew", options.skew, "exponent of Zipf's law, below 1; 0: each alike");
  app.add_flag("--in-order", options.in_order, "requests in the file's order, again and again");
  app.add_option("--seed", options.seed);
  app.add_option("--server", options.servers, "process ids whose CPU time and memory count");
  app.add_option("--timeline", options.timeline_ms, "milliseconds of a slice");
  app.add_flag("--resume", options.resume, "TLS sessions go on over connections");
  app.fallthrough();
  app.require_subcommand(1);
  auto* calls = app.add_subcommand("calls", "many calls over some connections");
  auto* connects = app.add_subcommand("connects", "a connection for each call");
  auto* holds = app.add_subcommand("holds", "connections that do nothing");
  auto* first = app.add_subcommand("first", "one call, as soon as somebody listens");
  CLI11_PARSE(app, count, words);

  std::signal(SIGPIPE, SIG_IGN);
  rlimit files{};
  getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);
  nlohmann::json result;
  if (calls->parsed()) result = Calls(options);
  if (connects->parsed()) result = Connects(options);
  if (holds->parsed()) result = Holds(options);
  if (first->parsed()) result = First(options);
  std::printf("%s\n", result.dump().c_str());
  return 0;
}

}  // namespace
}  // namespace oauthvault::bench

int main(int count, char** words) {
  try {
    return oauthvault::bench::Run(count, words);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "load: %s\n", error.what());
    return 1;
  }
}
