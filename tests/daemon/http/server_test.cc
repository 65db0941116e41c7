#include "daemon/http/server.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <atomic>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "crypto/descriptor.h"
#include "crypto/fields.h"
#include "tests/storage/temporary_folder.h"

namespace oauthvault::http {
namespace {

// A test that waits so long has failed.
constexpr std::chrono::seconds kPatience{30};

bool Await(const std::function<bool()>& condition) {
  const auto end = std::chrono::steady_clock::now() + kPatience;
  while (!condition()) {
    if (std::chrono::steady_clock::now() > end) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  return true;
}

// A connection of a client that says what it likes.
class Client {
 public:
  explicit Client(const std::string& origin) {
    const auto port = static_cast<std::uint16_t>(std::stoi(origin.substr(origin.rfind(':') + 1)));
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    const timeval patience{kPatience.count(), 0};
    setsockopt(socket_.Get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    EXPECT_EQ(connect(socket_.Get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  }
  // False: the other side has closed.
  bool Say(std::string_view text) {
    while (!text.empty()) {
      const ssize_t sent = send(socket_.Get(), text.data(), text.size(), MSG_NOSIGNAL);
      if (sent <= 0) return false;
      text.remove_prefix(static_cast<std::size_t>(sent));
    }
    return true;
  }
  // What comes until `end` of it is there, or the other side closes.
  std::string Hear(std::string_view end) {
    std::string heard;
    char block[4096];
    while (heard.find(end) == std::string::npos) {
      const ssize_t got = recv(socket_.Get(), block, sizeof block, 0);
      if (got <= 0) break;
      heard.append(block, static_cast<std::size_t>(got));
    }
    return heard;
  }
  // Whether the other side closes, whatever it says before.
  bool IsClosed() {
    Hear("no such text ever comes");
    char byte = 0;
    return recv(socket_.Get(), &byte, 1, 0) <= 0 && errno != EAGAIN;
  }

 private:
  crypto::Descriptor socket_{socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
};

class HttpServerTest : public testing::Test {
 protected:
  void Serve(Settings settings = {}) {
    settings.listen = "127.0.0.1:0";
    auto listener = Listener::Open(settings);
    ASSERT_TRUE(listener) << listener.error().Message();
    listener_ = std::move(*listener);
    Begin();
  }
  void Begin() {
    auto server = listener_->Serve([this](const Request& request) {
      ++answered_;
      last_path_ = request.path;
      last_query_ = request.query;
      if (request.too_large) return Reply{.status = 413, .body = "too large"};
      return Reply{.body = "<" + request.body.Expose([](std::span<const std::uint8_t> bytes) {
                     return std::string(crypto::AsField(bytes));
                   }) + ">"};
    });
    ASSERT_TRUE(server) << server.error().Message();
    server_ = std::move(*server);
  }
  const std::string& Origin() const { return listener_->Origin(); }

  std::atomic<int> answered_ = 0;
  std::string last_path_;
  std::vector<std::pair<std::string, std::string>> last_query_;
  std::unique_ptr<Listener> listener_;
  std::unique_ptr<Server> server_;
};

constexpr char kGet[] = "GET /a HTTP/1.1\r\nHost: x\r\n\r\n";

TEST_F(HttpServerTest, AConnection_TakesOneRequestAfterTheOther) {
  Serve();
  Client client(Origin());
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(client.Say(kGet));
    const std::string answer = client.Hear("<>");
    EXPECT_TRUE(answer.starts_with("HTTP/1.1 200 OK")) << answer;
    EXPECT_NE(answer.find("Cache-Control: no-store"), std::string::npos) << answer;
  }
  EXPECT_EQ(answered_, 3);
}

TEST_F(HttpServerTest, ARequestsPathAndQuery_ComeAsTheyWereSent) {
  Serve();
  Client client(Origin());
  ASSERT_TRUE(client.Say("GET /a%2Fb/%00c?x=%20y&z HTTP/1.1\r\nHost: x\r\n\r\n"));
  client.Hear("<>");
  EXPECT_EQ(last_path_, "/a%2Fb/%00c");
  ASSERT_EQ(last_query_.size(), 2U);
  EXPECT_EQ(last_query_[0], (std::pair<std::string, std::string>("x", "%20y")));
}

TEST_F(HttpServerTest, HeadersThatDripIn_AreShutAlthoughTheConnectionIsNeverIdle) {
  Serve({.timeouts = {.headers = std::chrono::milliseconds(200)}});
  Client client(Origin());
  ASSERT_TRUE(client.Say("GET / HTTP/1.1\r\n"));
  EXPECT_TRUE(Await([&] { return !client.Say("X-Drip: 1\r\n"); }));
  EXPECT_TRUE(Await([&] { return listener_->Connections() == 0; }));
  EXPECT_EQ(answered_, 0);
}

TEST_F(HttpServerTest, AConnectionThatSaysNothing_IsShut) {
  Serve({.timeouts = {.headers = std::chrono::milliseconds(100)}});
  Client client(Origin());
  EXPECT_TRUE(client.IsClosed());
}

TEST_F(HttpServerTest, ABodyThatDripsIn_IsShut) {
  Serve({.timeouts = {.body = std::chrono::milliseconds(200)}});
  Client client(Origin());
  ASSERT_TRUE(client.Say("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n"));
  EXPECT_TRUE(Await([&] { return !client.Say("x"); }));
  EXPECT_EQ(answered_, 0);
}

TEST_F(HttpServerTest, ABody_ComesWholeUpToItsBound) {
  Serve();
  Client client(Origin());
  const std::string body(kMaxBodySize, 'b');
  ASSERT_TRUE(client.Say("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: " +
                         std::to_string(body.size()) + "\r\n\r\n" + body));
  EXPECT_NE(client.Hear("b>").find("<" + body + ">"), std::string::npos);
  ASSERT_TRUE(client.Say("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
                         "3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"));
  EXPECT_NE(client.Hear("de>").find("<abcde>"), std::string::npos);
}

TEST_F(HttpServerTest, ABodyBeyondIt_IsAnsweredAndNotKept) {
  Serve();
  Client client(Origin());
  const std::string body(kMaxBodySize + 1, 'b');
  ASSERT_TRUE(client.Say("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: " +
                         std::to_string(body.size()) + "\r\n\r\n" + body));
  EXPECT_TRUE(client.Hear("too large").starts_with("HTTP/1.1 413")) << answered_;
}

TEST_F(HttpServerTest, ABodyWithoutAnEnd_IsCutOff) {
  Serve();
  Client client(Origin());
  ASSERT_TRUE(client.Say("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n"));
  const std::string piece(1 << 20, 'b');
  EXPECT_TRUE(Await([&] { return !client.Say(piece); }));
  EXPECT_EQ(answered_, 0);
}

TEST_F(HttpServerTest, HeadersBeyondTheirBound_AreRefused) {
  Serve();
  Client client(Origin());
  client.Say("GET / HTTP/1.1\r\nHost: x\r\nX-Large: " + std::string(4 * kMaxHeadersSize, 'x') +
             "\r\n\r\n");
  EXPECT_TRUE(client.IsClosed());
  EXPECT_EQ(answered_, 0);
}

TEST_F(HttpServerTest, WhatIsNotHttp_IsNotAnswered) {
  Serve();
  for (const char* text : {"\x16\x03\x01\x02 hello\r\n\r\n", "\r\n\r\n\r\n", "GET\r\n\r\n",
                           "GET / HTTP/9.9\r\n\r\n"}) {
    Client client(Origin());
    client.Say(text);
  }
  Client good(Origin());
  ASSERT_TRUE(good.Say(kGet));
  EXPECT_NE(good.Hear("<>").find("200 OK"), std::string::npos);
  EXPECT_LE(answered_, 1);
}

TEST_F(HttpServerTest, OneAddress_HasSoManyConnectionsAndNoMore) {
  Serve({.max_connections_per_address = 3});
  std::vector<std::unique_ptr<Client>> held;
  for (int i = 0; i < 3; ++i) {
    held.push_back(std::make_unique<Client>(Origin()));
    ASSERT_TRUE(held.back()->Say(kGet));
    ASSERT_NE(held.back()->Hear("<>").find("200"), std::string::npos);
  }
  Client beyond(Origin());
  EXPECT_TRUE(beyond.IsClosed());
  held.clear();
  EXPECT_TRUE(Await([&] {
    Client again(Origin());
    return again.Say(kGet) && again.Hear("<>").find("200") != std::string::npos;
  }));
}

TEST_F(HttpServerTest, AConnection_IsClosedAfterItsLastRequest) {
  Serve();
  Client client(Origin());
  for (std::uint32_t i = 1; i <= kMaxRequestsPerConnection; ++i) {
    ASSERT_TRUE(client.Say(kGet));
    const bool closes = client.Hear("<>").find("Connection: close") != std::string::npos;
    EXPECT_EQ(closes, i == kMaxRequestsPerConnection) << i;
  }
  EXPECT_TRUE(client.IsClosed());
}

TEST_F(HttpServerTest, TheNextServer_TakesConnectionsFromTheSameListener) {
  Serve();
  const std::string origin = Origin();
  server_.reset();
  Client early(origin);  // nobody serves; the backlog holds it
  ASSERT_TRUE(early.Say(kGet));
  Begin();
  EXPECT_EQ(Origin(), origin);
  EXPECT_NE(early.Hear("<>").find("200"), std::string::npos);
}

TEST(HttpListener, PlainHttp_IsRefusedElsewhereThanOnLoopback) {
  for (const char* listen : {"0.0.0.0:0", "[::]:0", "192.0.2.1:0"}) {
    const auto listener = Listener::Open({.listen = listen});
    ASSERT_FALSE(listener) << listen;
    EXPECT_EQ(listener.error().GetCode(), Code::kInvalid);
  }
  EXPECT_EQ(Listener::Open({})->get(), nullptr);
  EXPECT_TRUE(Listener::Open({.listen = "127.9.9.9:0"}));
}

TEST(HttpListener, WhatIsNoPairOfCertificateAndKey_IsRefused) {
  const storage::TemporaryFolder folder;
  const auto at = [&](const char* name) { return folder.Path() / name; };
  const std::string make = "cd " + folder.Path().string() +
                           " && for n in a b; do openssl req -x509 -newkey ec -pkeyopt "
                           "ec_paramgen_curve:P-256 -nodes -keyout $n.key -out $n.pem -days 2 "
                           "-subj /CN=localhost 2>/dev/null; done";
  ASSERT_EQ(std::system(make.c_str()), 0);
  std::ofstream(at("none.pem")) << "no PEM";
  const auto open = [&](const char* certificate, const char* key) {
    Settings settings{.listen = "127.0.0.1:0"};
    if (*certificate != '\0') settings.certificate = at(certificate);
    if (*key != '\0') settings.key = at(key);
    return Listener::Open(settings);
  };
  for (const auto& [certificate, key] :
       {std::pair("a.pem", "b.key"), std::pair("a.pem", ""), std::pair("", "a.key"),
        std::pair("a.pem", "absent.key"), std::pair("none.pem", "a.key"),
        std::pair("a.key", "a.key")}) {
    const auto listener = open(certificate, key);
    ASSERT_FALSE(listener) << certificate << " " << key;
    EXPECT_EQ(listener.error().GetCode(), Code::kInvalid);
  }
  auto listener = open("a.pem", "a.key");
  ASSERT_TRUE(listener) << listener.error().Message();
  EXPECT_TRUE((*listener)->Origin().starts_with("https://127.0.0.1:"));
  EXPECT_GT((*listener)->CertificateExpiresAtS(), 0);
  auto server = (*listener)->Serve([](const Request&) { return Reply{.body = "hello"}; });
  ASSERT_TRUE(server) << server.error().Message();
  const std::string ask = "curl -s --cacert " + at("a.pem").string() + " --resolve localhost:" +
                          (*listener)->Origin().substr((*listener)->Origin().rfind(':') + 1) +
                          ":127.0.0.1 https://localhost:" +
                          (*listener)->Origin().substr((*listener)->Origin().rfind(':') + 1) +
                          "/ > " + at("answer").string();
  EXPECT_EQ(std::system(ask.c_str()), 0);
  std::ifstream answer(at("answer"));
  EXPECT_EQ(std::string(std::istreambuf_iterator<char>(answer), {}), "hello");
}

}  // namespace
}  // namespace oauthvault::http
