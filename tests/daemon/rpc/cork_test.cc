#include "daemon/rpc/cork.h"

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <string>

#include "crypto/descriptor.h"

namespace oauthvault::rpc {
namespace {

// A connection over loopback: our end, and who speaks at the other one, as gRPC names it.
struct Connection {
  crypto::Descriptor peer_end;
  crypto::Descriptor own;
  std::string peer;
};

// `from`: the last byte of the caller's address; `port`: where it calls from, 0: anywhere.
Connection Connect(std::uint32_t from = 1, std::uint16_t port = 0) {
  const auto loopback = [](std::uint32_t last, std::uint16_t at) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK - 1 + last);
    address.sin_port = htons(at);
    return address;
  };
  const auto as_any = [](sockaddr_in& address) { return reinterpret_cast<sockaddr*>(&address); };
  const crypto::Descriptor listener(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in at = loopback(1, 0);
  socklen_t size = sizeof at;
  EXPECT_EQ(bind(listener.Get(), as_any(at), size), 0);
  EXPECT_EQ(listen(listener.Get(), 1), 0);
  EXPECT_EQ(getsockname(listener.Get(), as_any(at), &size), 0);
  Connection made;
  made.peer_end = crypto::Descriptor(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in own = loopback(from, port);
  EXPECT_EQ(bind(made.peer_end.Get(), as_any(own), size), 0);
  EXPECT_EQ(connect(made.peer_end.Get(), as_any(at), size), 0);
  made.own = crypto::Descriptor(accept4(listener.Get(), as_any(own), &size, SOCK_CLOEXEC));
  made.peer = "ipv4:127.0.0." + std::to_string(from) + ':' + std::to_string(ntohs(own.sin_port));
  return made;
}

std::uint16_t PortOf(const Connection& connection) {
  return static_cast<std::uint16_t>(
      std::stoi(connection.peer.substr(connection.peer.rfind(':') + 1)));
}

bool IsCorked(const Connection& connection) {
  int corked = 0;
  socklen_t size = sizeof corked;
  EXPECT_EQ(getsockopt(connection.own.Get(), IPPROTO_TCP, TCP_CORK, &corked, &size), 0);
  return corked != 0;
}

TEST(Corks, FromItsFirstAnswerOnAConnectionIsCorkedUntilTheBatchIsOver) {
  const Connection one = Connect();
  const Connection other = Connect();
  Corks corks;
  corks.Add(one.own.Get());
  corks.Add(other.own.Get());
  for (int batch = 1; batch <= 2; ++batch) {
    corks.Around([&] {
      EXPECT_FALSE(IsCorked(one));
      Corks::BeforeAnswerTo(one.peer);
      EXPECT_TRUE(IsCorked(one));
      EXPECT_FALSE(IsCorked(other));
      Corks::BeforeAnswerTo(one.peer);
      EXPECT_TRUE(IsCorked(one));
    });
    EXPECT_FALSE(IsCorked(one));
    EXPECT_EQ(corks.Corked(), 2u * static_cast<unsigned>(batch));
  }
}

TEST(Corks, AThreadIsInABatchOnlyWithinIt) {
  Corks corks;
  EXPECT_FALSE(Corks::IsInBatch());
  corks.Around([] { EXPECT_TRUE(Corks::IsInBatch()); });
  EXPECT_FALSE(Corks::IsInBatch());
}

TEST(Corks, WhoIsNotKnownOrHasNoPortIsLeftAlone) {
  const Connection known = Connect();
  const Connection stranger = Connect();
  int pair[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
  const crypto::Descriptor unix_end(pair[0]);
  const crypto::Descriptor other_end(pair[1]);
  Corks corks;
  corks.Add(known.own.Get());
  corks.Add(unix_end.Get());
  corks.Around([&] {
    for (const std::string& peer :
         {stranger.peer, std::string("unix:"), std::string("unix:/run/a:1"), std::string(),
          std::string("ipv4:127.0.0.1:"), "ipv4:127.0.0.1:" + std::to_string(70'000)}) {
      Corks::BeforeAnswerTo(peer);
      Corks::BeforeAnswerTo(peer);
    }
  });
  EXPECT_EQ(corks.Corked(), 0u);
  EXPECT_FALSE(IsCorked(stranger));
}

TEST(Corks, AnIpv6PeerIsFoundByItsPort) {
  const Connection connection = Connect();
  Corks corks;
  corks.Add(connection.own.Get());
  const std::string peer = "ipv6:%5B::1%5D:" + std::to_string(PortOf(connection));
  corks.Around([&] {
    Corks::BeforeAnswerTo(peer);
    Corks::BeforeAnswerTo(peer);
    EXPECT_TRUE(IsCorked(connection));
  });
}

// Else whoever was corked would wait 200 ms for each of its answers from then on.
TEST(Corks, ANewConnectionFromTheSamePortDoesNotKeepTheOldOneCorked) {
  const Connection first = Connect(1);
  const Connection second = Connect(2, PortOf(first));
  ASSERT_EQ(PortOf(second), PortOf(first));
  Corks corks;
  corks.Add(first.own.Get());
  corks.Around([&] {
    Corks::BeforeAnswerTo(first.peer);
    Corks::BeforeAnswerTo(first.peer);
    ASSERT_TRUE(IsCorked(first));
    corks.Add(second.own.Get());
    Corks::BeforeAnswerTo(second.peer);
    Corks::BeforeAnswerTo(second.peer);
    EXPECT_TRUE(IsCorked(second));
  });
  EXPECT_FALSE(IsCorked(first));
  EXPECT_FALSE(IsCorked(second));
}

}  // namespace
}  // namespace oauthvault::rpc
