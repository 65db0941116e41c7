#include "daemon/rpc/door.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <optional>
#include <utility>
#include <vector>

#include "crypto/sabotage.h"
#include "daemon/listen_address.h"

namespace oauthvault::rpc {
namespace {

constexpr int kBacklog = 512;
constexpr std::chrono::milliseconds kPauseWithoutDescriptors{50};
// gRPC says nothing when it closes a connection, so we look: from time to time, and where a place
// is wanted, but not for each of a flood.
constexpr std::chrono::milliseconds kSweepEvery{1000};
constexpr std::chrono::milliseconds kSweepPause{20};

std::uint64_t InodeOf(int fd) {
  struct stat status {};
  return fstat(fd, &status) == 0 && S_ISSOCK(status.st_mode) ? status.st_ino : 0;
}

// False only when it is certain that nobody listens on the socket. A listener whose queue is full
// would keep a blocking connect waiting.
bool IsAnswered(const sockaddr_un& address) {
  const Descriptor probe(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  return !probe ||
         connect(probe.Get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0 ||
         (errno != ECONNREFUSED && errno != ENOENT);
}

// A peer that vanished without a word gives its place back after about two minutes.
constexpr int kQuietBeforeProbesS = 60;
constexpr int kProbeIntervalS = 15;
constexpr int kProbes = 4;
// What was sent must be taken within this time, also by one who is there and does not read.
constexpr unsigned kUnreadMs = 30'000;

void SetUp(int connection) {
  const int on = 1;
  // On a unix socket these do nothing.
  setsockopt(connection, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  setsockopt(connection, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
  setsockopt(connection, IPPROTO_TCP, TCP_KEEPIDLE, &kQuietBeforeProbesS,
             sizeof kQuietBeforeProbesS);
  setsockopt(connection, IPPROTO_TCP, TCP_KEEPINTVL, &kProbeIntervalS, sizeof kProbeIntervalS);
  setsockopt(connection, IPPROTO_TCP, TCP_KEEPCNT, &kProbes, sizeof kProbes);
  setsockopt(connection, IPPROTO_TCP, TCP_USER_TIMEOUT, &kUnreadMs, sizeof kUnreadMs);
}

}  // namespace

Result<Descriptor> ListenTcp(const std::string& listen_at) {
  const std::optional<ListenAddress> address = ReadListenAddress(listen_at);
  if (!address) {
    return Fail(Code::kInvalid, "listen is a numeric address and a port",
                Subject::Path(listen_at));
  }
  Descriptor listener(
      socket(address->storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  const int on = 1;
  if (listener) setsockopt(listener.Get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  // gRPC's own listener then takes the same port, and everything that comes there.
  const bool stock = crypto::IsSabotaged(crypto::Sabotage::kStockListener);
  if (listener && stock) {
    setsockopt(listener.Get(), SOL_SOCKET, SO_REUSEPORT, &on, sizeof on);
  }
  if (!listener ||
      bind(listener.Get(), reinterpret_cast<const sockaddr*>(&address->storage),
           address->size) != 0 ||
      (!stock && listen(listener.Get(), kBacklog) != 0)) {
    return Fail(Code::kUnavailable, "cannot listen there; is another program on this port?",
                Subject::Path(listen_at));
  }
  return listener;
}

Result<Descriptor> Duplicate(const Descriptor& listener) {
  Descriptor copy(fcntl(listener.Get(), F_DUPFD_CLOEXEC, 0));
  if (!copy) return Fail(Code::kUnavailable, "no descriptor for a second door");
  return copy;
}

std::string BoundAddress(const Descriptor& listener) {
  sockaddr_storage address{};
  socklen_t size = sizeof address;
  char host[NI_MAXHOST];
  char port[NI_MAXSERV];
  if (getsockname(listener.Get(), reinterpret_cast<sockaddr*>(&address), &size) != 0 ||
      getnameinfo(reinterpret_cast<sockaddr*>(&address), size, host, sizeof host, port,
                  sizeof port, NI_NUMERICHOST | NI_NUMERICSERV) != 0) {
    return {};
  }
  std::string text = host;
  if (address.ss_family == AF_INET6) text = '[' + text + ']';
  text += ':';
  text += port;
  return text;
}

Result<Descriptor> ListenUnix(const std::filesystem::path& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.native().size() >= sizeof address.sun_path) {
    return Fail(Code::kInvalid, "a socket's path has at most 107 bytes",
                Subject::Path(path.string()));
  }
  std::memcpy(address.sun_path, path.c_str(), path.native().size());
  struct stat standing {};
  if (lstat(path.c_str(), &standing) == 0) {
    if (!S_ISSOCK(standing.st_mode)) {
      return Fail(Code::kInvalid, "something that is no socket stands at the socket's path",
                  Subject::Path(path.string()));
    }
    if (IsAnswered(address)) {
      return Fail(Code::kConflict, "another daemon answers on this socket",
                  Subject::Path(path.string()));
    }
    unlink(path.c_str());
  }
  Descriptor listener(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  // The mode is set between bind and listen: before listen nobody can connect.
  if (!listener ||
      bind(listener.Get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 ||
      chmod(path.c_str(), 0600) != 0 || listen(listener.Get(), kBacklog) != 0) {
    return Fail(Code::kUnavailable, "cannot listen on the socket; does its folder exist?",
                Subject::Path(path.string()));
  }
  return listener;
}

bool IsOwnUser(int connection) {
  ucred peer{};
  socklen_t size = sizeof peer;
  return getsockopt(connection, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 &&
         (peer.uid == 0 || peer.uid == geteuid());
}

Result<std::unique_ptr<Door>> Door::Open(Descriptor listener, Settings settings) {
  std::unique_ptr<Door> door(new Door(std::move(listener), std::move(settings)));
  door->stop_ = Descriptor(eventfd(0, EFD_CLOEXEC));
  door->reserve_ = Descriptor(open("/dev/null", O_RDONLY | O_CLOEXEC));
  if (!door->stop_ || !door->reserve_) {
    return Fail(Code::kUnavailable, "no descriptors for a door; raise the limit on open files");
  }
  door->thread_ = std::thread([raw = door.get()] { raw->Run(); });
  pthread_setname_np(door->thread_.native_handle(), door->settings_.thread_name.c_str());
  return door;
}

Door::~Door() {
  if (!thread_.joinable()) return;
  const std::uint64_t one = 1;
  [[maybe_unused]] const ssize_t written = write(stop_.Get(), &one, sizeof one);
  thread_.join();
}

Origin Origin::Of(const sockaddr_storage& address) {
  Origin origin;
  const auto take = [&origin](std::uint32_t family, const void* from, std::size_t size) {
    origin.family_ = family;
    std::memcpy(&origin.prefix_, from, size);
  };
  if (address.ss_family == AF_INET) {
    take(AF_INET, &reinterpret_cast<const sockaddr_in&>(address).sin_addr, 4);
  } else if (address.ss_family == AF_INET6) {
    const in6_addr& ip = reinterpret_cast<const sockaddr_in6&>(address).sin6_addr;
    if (IN6_IS_ADDR_V4MAPPED(&ip)) {
      take(AF_INET, ip.s6_addr + 12, 4);
    } else {
      take(AF_INET6, ip.s6_addr, 8);
    }
  }
  return origin;
}

void Door::Run() {
  pollfd waited[2] = {{listener_.Get(), POLLIN, 0}, {stop_.Get(), POLLIN, 0}};
  Clock::time_point ticked{};
  while (true) {
    const int wait_ms = handed_over_.empty() ? -1 : static_cast<int>(kSweepEvery.count());
    const int ready = poll(waited, 2, wait_ms);
    if (ready < 0 && errno != EINTR) return;
    if (ready > 0 && (waited[1].revents & POLLIN) != 0) return;
    if (ready > 0 && (waited[0].revents & POLLIN) != 0) AcceptOne();
    if (const auto now = Clock::now(); now - ticked >= kSweepEvery) {
      ticked = now;
      Sweep(now);
    }
    Publish();
  }
}

void Door::AcceptOne() {
  sockaddr_storage peer{};
  socklen_t size = sizeof peer;
  Descriptor connection(accept4(listener_.Get(), reinterpret_cast<sockaddr*>(&peer), &size,
                                SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (!connection) {
    if (errno != EMFILE && errno != ENFILE) return;
    // Without this the waiting connection would wake the loop for ever, and its client would wait.
    ++settings_.counters->refused_without_descriptor;
    reserve_.Close();
    Descriptor refused(accept4(listener_.Get(), nullptr, nullptr, SOCK_CLOEXEC));
    refused.Close();
    reserve_ = Descriptor(open("/dev/null", O_RDONLY | O_CLOEXEC));
    std::this_thread::sleep_for(kPauseWithoutDescriptors);
    return;
  }
  const Origin origin = Origin::Of(peer);
  std::atomic<std::uint64_t>* excess = Excess(origin);
  if (const auto now = Clock::now(); excess != nullptr && now - swept_ >= kSweepPause) {
    swept_ = now;
    Sweep(now);
    excess = Excess(origin);
  }
  if (excess != nullptr) {
    ++*excess;
    return;
  }
  if (settings_.let_in && !settings_.let_in(connection.Get())) {
    ++settings_.counters->refused_caller;
    return;
  }
  ++settings_.counters->accepted;
  SetUp(connection.Get());
  Add(connection.Get(), origin);
  settings_.hand_over(connection.Release());
}

// What one more connection from there would be too much of; null: of nothing.
std::atomic<std::uint64_t>* Door::Excess(const Origin& origin) {
  DoorCounters& counters = *settings_.counters;
  if (handed_over_.size() >= settings_.max_connections) return &counters.refused_in_all;
  if (young_ >= settings_.max_handshakes) return &counters.refused_at_handshake;
  const auto found = origins_.find(origin);
  if (found == origins_.end() || crypto::IsSabotaged(crypto::Sabotage::kNoAddressCap)) {
    return nullptr;
  }
  if (found->second.open >= settings_.max_per_origin ||
      found->second.young >= settings_.max_handshakes / 2 + settings_.max_handshakes % 2) {
    return &counters.refused_of_address;
  }
  return nullptr;
}

void Door::Add(int fd, const Origin& origin) {
  Remove(fd);  // a number that comes back belongs to this connection now
  handed_over_.emplace(fd, Connection{InodeOf(fd), origin, Clock::now(), true});
  ++young_;
  if (!origin.IsKnown()) return;
  Count& count = origins_[origin];
  ++count.open;
  ++count.young;
}

void Door::Remove(int fd) {
  const auto found = handed_over_.find(fd);
  if (found == handed_over_.end()) return;
  GrowUp(found->second);
  if (const auto origin = origins_.find(found->second.origin);
      origin != origins_.end() && --origin->second.open == 0) {
    origins_.erase(origin);
  }
  handed_over_.erase(found);
}

void Door::GrowUp(Connection& connection) {
  if (!std::exchange(connection.young, false)) return;
  --young_;
  const auto origin = origins_.find(connection.origin);
  if (origin != origins_.end()) --origin->second.young;
}

// Forgets what was closed, and lets what is old enough be no handshake any more.
void Door::Sweep(Clock::time_point now) {
  std::vector<int> closed;
  for (auto& [fd, connection] : handed_over_) {
    if (InodeOf(fd) != connection.inode) {
      closed.push_back(fd);
    } else if (now - connection.since > settings_.handshake_timeout) {
      GrowUp(connection);
    }
  }
  for (const int fd : closed) Remove(fd);
}

void Door::Publish() {
  settings_.counters->open = static_cast<std::uint32_t>(handed_over_.size());
  settings_.counters->young = young_;
}

}  // namespace oauthvault::rpc
