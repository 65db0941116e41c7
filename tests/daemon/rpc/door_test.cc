// The accept loop and the listeners alone, without gRPC behind them.

#include "daemon/rpc/door.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <condition_variable>
#include <fstream>
#include <mutex>
#include <vector>

#include "tests/storage/temporary_folder.h"

namespace oauthvault::rpc {
namespace {

constexpr int kPatienceMs = 20'000;

sockaddr_in Resolve(const std::string& address) {
  const std::size_t colon = address.rfind(':');
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(static_cast<std::uint16_t>(std::stoi(address.substr(colon + 1))));
  inet_pton(AF_INET, address.substr(0, colon).c_str(), &to.sin_addr);
  return to;
}

// `from`: the address to call from, one of 127.0.0.0/8.
Descriptor ConnectTo(const std::string& address, const char* from = "127.0.0.1") {
  const sockaddr_in to = Resolve(address);
  const sockaddr_in own = Resolve(std::string(from) + ":0");
  Descriptor client(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!client || bind(client.Get(), reinterpret_cast<const sockaddr*>(&own), sizeof own) != 0 ||
      connect(client.Get(), reinterpret_cast<const sockaddr*>(&to), sizeof to) != 0) {
    return Descriptor();
  }
  return client;
}

// True when the other side closes it in time.
bool IsClosedByPeer(const Descriptor& client) {
  pollfd waited{client.Get(), POLLIN, 0};
  char byte = 0;
  return poll(&waited, 1, kPatienceMs) == 1 && read(client.Get(), &byte, 1) <= 0;
}

// Takes connections over as gRPC does, and may let go of them.
class Taken {
 public:
  void Take(int fd) {
    const std::lock_guard lock(guard_);
    open_.emplace_back(fd);
    changed_.notify_all();
  }
  bool WaitFor(std::size_t count) {
    std::unique_lock lock(guard_);
    return changed_.wait_for(lock, std::chrono::milliseconds(kPatienceMs),
                             [&] { return open_.size() >= count; });
  }
  std::size_t Count() {
    const std::lock_guard lock(guard_);
    return open_.size();
  }
  void CloseAll() {
    const std::lock_guard lock(guard_);
    open_.clear();
  }

 private:
  std::mutex guard_;  // guards open_
  std::condition_variable changed_;
  std::vector<Descriptor> open_;
};

class DoorTest : public testing::Test {
 protected:
  void Open(std::uint32_t max_connections, std::function<bool(int)> let_in = nullptr) {
    Open(Door::Settings{.max_connections = max_connections, .let_in = std::move(let_in)});
  }
  void Open(Door::Settings settings) {
    settings.thread_name = "door-test";
    settings.hand_over = [this](int fd) { taken_.Take(fd); };
    settings.counters = &counters_;
    auto listener = ListenTcp("127.0.0.1:0");
    ASSERT_TRUE(listener);
    address_ = BoundAddress(*listener);
    auto door = Door::Open(std::move(*listener), std::move(settings));
    ASSERT_TRUE(door);
    door_ = std::move(*door);
  }

  DoorCounters counters_;
  Taken taken_;
  std::string address_;
  std::unique_ptr<Door> door_;
};

TEST_F(DoorTest, BeyondTheCap_AConnectionIsClosedAtOnce) {
  Open(2);
  const Descriptor first = ConnectTo(address_);
  const Descriptor second = ConnectTo(address_);
  ASSERT_TRUE(taken_.WaitFor(2));
  const Descriptor third = ConnectTo(address_);
  EXPECT_TRUE(IsClosedByPeer(third));
  EXPECT_EQ(taken_.Count(), 2u);
}

TEST_F(DoorTest, WhenAnotherHasEnded_ANewOneIsLetIn) {
  Open(2);
  const Descriptor first = ConnectTo(address_);
  const Descriptor second = ConnectTo(address_);
  ASSERT_TRUE(taken_.WaitFor(2));
  taken_.CloseAll();
  const Descriptor third = ConnectTo(address_);
  const Descriptor fourth = ConnectTo(address_);
  EXPECT_TRUE(taken_.WaitFor(2));
  const Descriptor fifth = ConnectTo(address_);
  EXPECT_TRUE(IsClosedByPeer(fifth));
}

TEST_F(DoorTest, WhoIsNotLetIn_IsClosedAndTakesNoPlace) {
  std::atomic<bool> open = false;
  Open(1, [&open](int) { return open.load(); });
  const Descriptor refused = ConnectTo(address_);
  EXPECT_TRUE(IsClosedByPeer(refused));
  open = true;
  const Descriptor let_in = ConnectTo(address_);
  EXPECT_TRUE(taken_.WaitFor(1));
}

TEST_F(DoorTest, AfterItsEnd_NobodyIsTakenAndWhoWasStays) {
  Open(4);
  const Descriptor client = ConnectTo(address_);
  ASSERT_TRUE(taken_.WaitFor(1));
  door_.reset();
  EXPECT_FALSE(ConnectTo(address_)) << "the listener is closed";
  char byte = 0;
  EXPECT_EQ(recv(client.Get(), &byte, 1, MSG_DONTWAIT), -1) << "the open one stays open";
}

TEST_F(DoorTest, OneOriginBeyondItsCap_LeavesTheOthersTheirPlaces) {
  Open(Door::Settings{.max_connections = 10, .max_per_origin = 2});
  std::vector<Descriptor> flood;
  for (int i = 0; i < 5; ++i) flood.push_back(ConnectTo(address_));
  for (int i = 2; i < 5; ++i) EXPECT_TRUE(IsClosedByPeer(flood[i]));
  const Descriptor good = ConnectTo(address_, "127.0.0.2");
  EXPECT_TRUE(taken_.WaitFor(3));
  EXPECT_EQ(counters_.refused_of_address, 3u);
  EXPECT_EQ(counters_.refused_in_all, 0u);
}

TEST_F(DoorTest, OneOrigin_HasAtMostHalfOfTheHandshakes) {
  Open(Door::Settings{.max_connections = 100, .max_handshakes = 4,
                      .handshake_timeout = std::chrono::hours(1)});
  std::vector<Descriptor> flood;
  for (int i = 0; i < 4; ++i) flood.push_back(ConnectTo(address_));
  for (int i = 2; i < 4; ++i) EXPECT_TRUE(IsClosedByPeer(flood[i]));
  EXPECT_EQ(counters_.refused_of_address, 2u);
  const Descriptor second = ConnectTo(address_, "127.0.0.2");
  const Descriptor third = ConnectTo(address_, "127.0.0.3");
  ASSERT_TRUE(taken_.WaitFor(4));
  const Descriptor fourth = ConnectTo(address_, "127.0.0.4");
  EXPECT_TRUE(IsClosedByPeer(fourth));
  EXPECT_EQ(counters_.refused_at_handshake, 1u);
}

TEST_F(DoorTest, AConnectionThatIsOldEnough_IsAtNoHandshakeAnyMore) {
  Open(Door::Settings{.max_connections = 100, .max_handshakes = 2,
                      .handshake_timeout = std::chrono::milliseconds(1)});
  // One place for this origin: each next one is let in when the one before has grown up.
  std::vector<Descriptor> open;
  for (std::size_t i = 1; i <= 4; ++i) {
    while (taken_.Count() < i) {
      open.push_back(ConnectTo(address_));
      ASSERT_TRUE(open.back());
      pollfd waited{open.back().Get(), POLLIN, 0};
      poll(&waited, 1, 50);  // until it is refused, or taken
    }
  }
}

TEST(Origin, GroupsWhatOneCustomerHas) {
  const auto of = [](const char* text) {
    sockaddr_storage address{};
    auto* six = reinterpret_cast<sockaddr_in6*>(&address);
    auto* four = reinterpret_cast<sockaddr_in*>(&address);
    if (inet_pton(AF_INET, text, &four->sin_addr) == 1) {
      address.ss_family = AF_INET;
    } else {
      EXPECT_EQ(inet_pton(AF_INET6, text, &six->sin6_addr), 1) << text;
      address.ss_family = AF_INET6;
    }
    return Origin::Of(address);
  };
  EXPECT_EQ(of("192.0.2.1"), of("192.0.2.1"));
  EXPECT_FALSE(of("192.0.2.1") == of("192.0.2.2"));
  EXPECT_EQ(of("2001:db8:1:2::1"), of("2001:db8:1:2:ffff::9")) << "one /64";
  EXPECT_FALSE(of("2001:db8:1:2::1") == of("2001:db8:1:3::1"));
  EXPECT_EQ(of("::ffff:192.0.2.1"), of("192.0.2.1"));
  EXPECT_FALSE(of("::1") == of("0.0.0.0"));
  EXPECT_FALSE(Origin::Of({}).IsKnown()) << "a unix socket has none";
}

TEST_F(DoorTest, WithoutDescriptors_ItRefusesAndRecoversByItself) {
  Open(1000);
  std::vector<Descriptor> clients;
  for (int i = 0; i < 8; ++i) {
    clients.emplace_back(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  }
  rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &before), 0);
  const int highest = clients.back().Get();
  rlimit low = before;
  low.rlim_cur = static_cast<rlim_t>(highest) + 1;
  // Every number below the limit is taken, so that accept finds none.
  std::vector<Descriptor> fillers;
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &low), 0);
  while (true) {
    Descriptor filler(open("/dev/null", O_RDONLY | O_CLOEXEC));
    if (!filler) break;
    fillers.push_back(std::move(filler));
  }
  ASSERT_EQ(errno, EMFILE);
  const sockaddr_in to = Resolve(address_);
  for (Descriptor& client : clients) {
    ASSERT_EQ(connect(client.Get(), reinterpret_cast<const sockaddr*>(&to), sizeof to), 0);
  }
  for (const Descriptor& client : clients) EXPECT_TRUE(IsClosedByPeer(client));
  EXPECT_EQ(taken_.Count(), 0u);
  EXPECT_EQ(counters_.refused_without_descriptor, clients.size());
  fillers.clear();
  setrlimit(RLIMIT_NOFILE, &before);
  const Descriptor good = ConnectTo(address_);
  EXPECT_TRUE(taken_.WaitFor(1));
}

TEST(ListenTcp, NeedsANumericAddressAndAPort) {
  for (const char* wrong : {"", ":", "127.0.0.1", "127.0.0.1:", "127.0.0.1:http", ":8443",
                            "localhost:0", "127.0.0.1:-1", "127.0.0.1:65536", "127.0.0.1:99999",
                            "127.0.0.1:0x10", "127.0.0.1: 80"}) {
    const auto listener = ListenTcp(wrong);
    ASSERT_FALSE(listener) << wrong;
    EXPECT_EQ(listener.error().GetCode(), Code::kInvalid) << wrong;
  }
}

TEST(ListenTcp, TakesIpv6InBrackets) {
  const auto listener = ListenTcp("[::1]:0");
  if (!listener) {  // a machine without IPv6
    EXPECT_EQ(listener.error().GetCode(), Code::kUnavailable);
    return;
  }
  EXPECT_EQ(BoundAddress(*listener).substr(0, 6), "[::1]:");
}

TEST(ListenTcp, APortThatIsTaken_IsUnavailable) {
  const auto first = ListenTcp("127.0.0.1:0");
  ASSERT_TRUE(first);
  const auto second = ListenTcp(BoundAddress(*first));
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().GetCode(), Code::kUnavailable);
}

class ListenUnixTest : public testing::Test {
 protected:
  // A socket that was bound there, listening or not.
  Descriptor Bind() const {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path_.native().copy(address.sun_path, sizeof address.sun_path - 1);
    Descriptor bound(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    EXPECT_EQ(bind(bound.Get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    return bound;
  }
  Descriptor Connect() const {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path_.native().copy(address.sun_path, sizeof address.sun_path - 1);
    Descriptor client(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    EXPECT_EQ(connect(client.Get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    return client;
  }

  storage::TemporaryFolder folder_;
  const std::filesystem::path path_ = folder_.Path() / "door.sock";
};

TEST_F(ListenUnixTest, TheSocketIsForItsOwnerAlone) {
  const mode_t before = umask(0);
  const auto listener = ListenUnix(path_);
  umask(before);
  ASSERT_TRUE(listener);
  struct stat status {};
  ASSERT_EQ(stat(path_.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 07777, 0600u);
}

TEST_F(ListenUnixTest, ASocketThatNobodyAnswersOn_IsReplaced) {
  Bind().Close();
  const auto listener = ListenUnix(path_);
  ASSERT_TRUE(listener);
  EXPECT_TRUE(Connect());
}

TEST_F(ListenUnixTest, ASocketThatIsAnswered_IsAConflict) {
  const auto first = ListenUnix(path_);
  ASSERT_TRUE(first);
  const auto second = ListenUnix(path_);
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().GetCode(), Code::kConflict);
  EXPECT_TRUE(Connect()) << "the first one's socket stands";
}

TEST_F(ListenUnixTest, AListenerThatIsBusy_IsAConflictAndNotAWait) {
  const Descriptor busy = Bind();
  ASSERT_EQ(listen(busy.Get(), 0), 0);
  const Descriptor waiting = Connect();  // fills the queue
  const auto second = ListenUnix(path_);
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().GetCode(), Code::kConflict);
}

TEST_F(ListenUnixTest, WhatIsNoSocket_StaysUntouched) {
  std::ofstream(path_) << "precious";
  const auto listener = ListenUnix(path_);
  ASSERT_FALSE(listener);
  EXPECT_EQ(listener.error().GetCode(), Code::kInvalid);
  EXPECT_EQ(std::filesystem::file_size(path_), 8u);
}

TEST_F(ListenUnixTest, APathThatDoesNotFit_IsInvalid) {
  const auto listener = ListenUnix(folder_.Path() / std::string(120, 'x'));
  ASSERT_FALSE(listener);
  EXPECT_EQ(listener.error().GetCode(), Code::kInvalid);
}

TEST(IsOwnUser, LetsInRootAndTheDaemonsOwnUserOnly) {
  int pair[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
  const Descriptor here(pair[0]);
  const Descriptor there(pair[1]);
  EXPECT_TRUE(IsOwnUser(here.Get()));
  if (geteuid() != 0) return;
  // A stranger: a child that gives up root before it connects.
  storage::TemporaryFolder folder;
  ASSERT_EQ(chmod(folder.Path().c_str(), 0755), 0);
  const std::filesystem::path path = folder.Path() / "stranger.sock";
  auto listener = ListenUnix(path);
  ASSERT_TRUE(listener);
  ASSERT_EQ(chmod(path.c_str(), 0666), 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path.native().copy(address.sun_path, sizeof address.sun_path - 1);
  const pid_t child = fork();
  if (child == 0) {
    const int client = socket(AF_UNIX, SOCK_STREAM, 0);
    if (setgid(65534) != 0 || setuid(65534) != 0) _exit(1);
    _exit(connect(client, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0 ? 0 : 2);
  }
  int status = -1;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  ASSERT_EQ(status, 0);
  const Descriptor stranger(accept(listener->Get(), nullptr, nullptr));
  ASSERT_TRUE(stranger);
  EXPECT_FALSE(IsOwnUser(stranger.Get()));
}

TEST(IsOwnUser, RefusesWhatIsNoUnixSocket) {
  const auto listener = ListenTcp("127.0.0.1:0");
  ASSERT_TRUE(listener);
  EXPECT_FALSE(IsOwnUser(listener->Get()));
}

}  // namespace
}  // namespace oauthvault::rpc
