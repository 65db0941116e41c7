#include "daemon/rivery/http.h"

#include <gtest/gtest.h>
#include <sys/socket.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "daemon/rivery/client.h"
#include "tests/daemon/rivery/listener.h"

namespace oauthvault::rivery {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr Reach kLoopback{.allow_loopback = true};
constexpr Limits kLimits{.connect_timeout = milliseconds(1500),
                         .call_timeout = milliseconds(3000),
                         .max_reply_bytes = std::size_t{64} * 1024,
                         .max_header_bytes = std::size_t{16} * 1024,
                         .low_speed_bytes = 100,
                         .low_speed_time = seconds(1)};
const std::string kSaved =
    R"({"cross_id":"5f0000000000000000000002","status_code":200,"message":"connection saved",)"
    R"("_id":"5f0000000000000000000001","connection_name":"n"})";

/// A client, a token, credentials, and every request that a listener has read.
class HttpTest : public ::testing::Test {
 protected:
  /// Answers each request of a connection with what `answer` makes of it; nothing: closes.
  std::function<void(int)> Answering(std::function<std::string(const std::string&)> answer) {
    return [this, answer = std::move(answer)](int fd) {
      while (true) {
        const std::string request = ReadRequest(fd);
        if (request.empty()) return;
        {
          const std::lock_guard lock(mutex_);
          requests_.push_back(request);
        }
        const std::string text = answer(request);
        if (text.empty() || !WriteAll(fd, text) || text.contains("Connection: close")) return;
      }
    };
  }

  std::vector<std::string> Requests() {
    const std::lock_guard lock(mutex_);
    return requests_;
  }

  Reply<RemoteConnection> Create(const std::string& base_url, const Client& client) {
    return client.Create({.base_url = base_url, .token = token_}, "fb", "n", credentials_);
  }
  Reply<RemoteConnection> Create(const std::string& base_url) {
    return Create(base_url, Client({}, kLimits, kLoopback));
  }
  Reply<std::vector<RemoteConnection>> List(const std::string& base_url, const Client& client) {
    return client.List({.base_url = base_url, .token = token_}, "fb");
  }
  Reply<std::vector<RemoteConnection>> List(const std::string& base_url) {
    return List(base_url, Client({}, kLimits, kLoopback));
  }

  template <class T>
  static void ExpectFailure(const Reply<T>& reply, Code code, Fate fate) {
    ASSERT_FALSE(reply);
    EXPECT_EQ(NameOf(reply.error().error.GetCode()), NameOf(code))
        << reply.error().error.Message();
    EXPECT_EQ(reply.error().fate, fate) << reply.error().error.Message();
    EXPECT_FALSE(reply.error().error.Message().contains("canary"));
  }

  crypto::ApiToken token_{crypto::SecretBytes::CopyOf("canary-api-token")};
  crypto::SecretBytes credentials_ =
      crypto::SecretBytes::CopyOf(R"({"access_token":"canary-access-token"})");
  std::mutex mutex_;
  std::vector<std::string> requests_;
};

TEST_F(HttpTest, Request_CarriesTheTokenAndNothingThatWasNotAskedFor) {
  Listener listener(Answering([](const std::string&) {
    return HttpText("200 OK", kSaved, "Set-Cookie: a=b\r\n");
  }));
  const Client client({}, kLimits, kLoopback);
  ASSERT_TRUE(Create(listener.Url("http", "127.0.0.1"), client));
  ASSERT_TRUE(Create(listener.Url("http", "127.0.0.1"), client));
  ASSERT_EQ(Requests().size(), 2U);
  const std::string request = Requests()[1];
  EXPECT_TRUE(request.starts_with("PUT /api/connections HTTP/1.1\r\n"));
  EXPECT_TRUE(request.contains("\r\nAuthorization: Bearer canary-api-token\r\n"));
  EXPECT_TRUE(request.contains("\r\nContent-Type: application/json\r\n"));
  EXPECT_TRUE(request.ends_with(
      "\r\n\r\n{\"connection_type\":\"fb\",\"connection_name\":\"n\",\"credentials\":"
      "{\"access_token\":\"canary-access-token\"}}"));
  for (const std::string_view absent : {"Accept-Encoding", "Cookie", "Expect", "User-Agent"}) {
    EXPECT_FALSE(request.contains(absent)) << absent;
  }
}

TEST_F(HttpTest, Create_GoesOutOnceEvenWhereAReusedConnectionEnds) {
  // A listing leaves a connection open. The server ends whatever connection a create comes on,
  // which is the moment when libcurl would repeat it on a fresh one.
  Listener listener(Answering([](const std::string& request) {
    return request.starts_with("GET") ? HttpText("200 OK", "[]") : std::string();
  }));
  const Client client({}, kLimits, kLoopback);
  ASSERT_TRUE(List(listener.Url("http", "127.0.0.1"), client));
  ASSERT_TRUE(List(listener.Url("http", "127.0.0.1"), client));
  EXPECT_EQ(listener.Accepted(), 1) << "listings share a connection";
  ExpectFailure(Create(listener.Url("http", "127.0.0.1"), client), Code::kUnavailable,
                Fate::kUnclear);
  int creates = 0;
  for (const std::string& request : Requests()) creates += request.starts_with("PUT") ? 1 : 0;
  EXPECT_EQ(creates, 1);
}

TEST_F(HttpTest, Answer_BeyondACapEndsTheCall) {
  const struct {
    std::string name;
    std::string head;
    std::string endless;
  } rows[] = {
      {"headers", "HTTP/1.1 200 OK\r\n", "X-Pad: " + std::string(200, 'x') + "\r\n"},
      {"interim answers", "", "HTTP/1.1 103 Early Hints\r\nX: y\r\n\r\n"},
      {"chunks", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
       "100\r\n" + std::string(256, ' ') + "\r\n"},
      {"body", "HTTP/1.1 200 OK\r\n\r\n", std::string(1000, ' ')},
      {"announced", "HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n", " "},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.name);
    std::atomic<std::size_t> written = 0;
    Listener listener([&](int fd) {
      ReadRequest(fd);
      if (!WriteAll(fd, row.head)) return;
      while (WriteAll(fd, row.endless)) written += row.endless.size();
    });
    ExpectFailure(Create(listener.Url("http", "127.0.0.1")), Code::kExhausted, Fate::kUnclear);
  }
}

TEST_F(HttpTest, Answer_ThatDripsEndsLongBeforeTheCallDoes) {
  std::atomic<bool> is_over = false;
  Listener listener([&](int fd) {
    ReadRequest(fd);
    WriteAll(fd, "HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n");
    while (!is_over && WriteAll(fd, " ")) std::this_thread::sleep_for(milliseconds(50));
  });
  Limits limits = kLimits;
  limits.call_timeout = std::chrono::hours(1);  // the test's own limit is far below
  const auto created = Create(listener.Url("http", "127.0.0.1"), Client({}, limits, kLoopback));
  ExpectFailure(created, Code::kUnavailable, Fate::kUnclear);
  EXPECT_TRUE(created.error().error.GetText().contains("too slowly"));
  is_over = true;
}

TEST_F(HttpTest, Answer_ThatNeverComesEndsWithTheCallAndNotForBeingSlow) {
  std::atomic<bool> is_over = false;
  Listener listener([&](int fd) {
    ReadRequest(fd);
    while (!is_over) std::this_thread::sleep_for(milliseconds(10));
  });
  Limits limits = kLimits;
  // Longer than low_speed_time: a server may think, and is not slow meanwhile.
  limits.call_timeout = milliseconds(1500);
  const auto created = Create(listener.Url("http", "127.0.0.1"), Client({}, limits, kLoopback));
  ExpectFailure(created, Code::kUnavailable, Fate::kUnclear);
  EXPECT_TRUE(created.error().error.GetText().contains("did not answer in time"));
  is_over = true;
}

TEST_F(HttpTest, NeverSent_IsSaidWhereNoConnectionCameAbout) {
  std::string closed_url;
  {
    const Listener listener([](int) {});
    closed_url = listener.Url("http", "127.0.0.1");
  }
  ExpectFailure(Create(closed_url), Code::kUnavailable, Fate::kNeverSent);
  Limits limits = kLimits;
  limits.call_timeout = milliseconds(1000);
  ExpectFailure(Create("https://no-such-host.invalid/api", Client({}, limits, {})),
                Code::kUnavailable, Fate::kNeverSent);
}

TEST_F(HttpTest, NeverSent_IsSaidWhereTheTlsHandshakeDoesNotEnd) {
  std::atomic<bool> is_over = false;
  Listener listener([&](int) {
    while (!is_over) std::this_thread::sleep_for(milliseconds(10));
  });
  Limits limits = kLimits;
  limits.call_timeout = milliseconds(500);
  ExpectFailure(Create(listener.Url("https", "127.0.0.1"), Client({}, limits, kLoopback)),
                Code::kUnavailable, Fate::kNeverSent);
  is_over = true;
  EXPECT_EQ(listener.Accepted(), 1);
}

TEST_F(HttpTest, Tls_OlderThanOneDotTwoIsRefused) {
  // A ServerHello of TLS 1.1, written by hand: no library here still speaks it.
  std::string hello("\x16\x03\x02\x00\x2a\x02\x00\x00\x26\x03\x02", 11);
  hello += std::string(32, 'r');
  hello += std::string("\x00\xc0\x13\x00", 4);
  Listener listener([&](int fd) {
    WriteAll(fd, hello);
    char block[4096];
    while (recv(fd, block, sizeof block, 0) > 0) {
    }
  });
  ExpectFailure(Create(listener.Url("https", "127.0.0.1")), Code::kUnavailable, Fate::kNeverSent);
}

TEST_F(HttpTest, Redirect_OnTheSameOriginIsFollowedForReadsOnly) {
  Listener listener(Answering([](const std::string& request) {
    if (request.contains("/api/moved")) return HttpText("200 OK", "[]");
    return HttpText("307 Temporary Redirect", "", "Location: /api/moved\r\n");
  }));
  EXPECT_TRUE(List(listener.Url("http", "127.0.0.1")));
  EXPECT_EQ(Requests().size(), 2U);
  ExpectFailure(Create(listener.Url("http", "127.0.0.1")), Code::kInvalid, Fate::kRefused);
  EXPECT_EQ(Requests().size(), 3U);
}

TEST_F(HttpTest, Redirect_InACircleEndsAfterThree) {
  Listener listener(Answering([](const std::string&) {
    return HttpText("302 Found", "", "Location: /api/again\r\n");
  }));
  ExpectFailure(List(listener.Url("http", "127.0.0.1")), Code::kUnavailable, Fate::kRefused);
  EXPECT_EQ(Requests().size(), 4U);
}

TEST_F(HttpTest, Redirect_ElsewhereTakesNoRequestThere) {
  Listener other(Answering([](const std::string&) { return HttpText("200 OK", "[]"); }));
  const std::string targets[] = {
      other.Url("http", "127.0.0.1"),  // another port
      "//127.0.0.1:" + std::to_string(other.Port()) + "/api",
      "https://127.0.0.1/api",
      "http://user@127.0.0.1/api",
      "file:///etc/passwd",
  };
  for (const std::string& target : targets) {
    SCOPED_TRACE(target);
    Listener listener(Answering([&](const std::string&) {
      return HttpText("302 Found", "", "Location: " + target + "\r\n");
    }));
    ExpectFailure(List(listener.Url("http", "127.0.0.1")), Code::kInvalid, Fate::kRefused);
    // The same host by another name is another origin, too.
    ExpectFailure(List(listener.Url("http", "localhost")), Code::kInvalid, Fate::kRefused);
  }
  EXPECT_EQ(other.Accepted(), 0);
}

TEST_F(HttpTest, Reach_OpensNoConnectionToAnAddressInsideTheNetwork) {
  Listener listener([](int) {});
  const std::string port = ":" + std::to_string(listener.Port());
  const std::string hosts[] = {
      "127.0.0.1",
      "127.1",
      "127.0.0.53",
      "2130706433",
      "0x7f000001",
      "0x7f.1",
      "0177.0.0.1",
      "017700000001",
      "localhost",
      "LOCALHOST",
      "localhost.",
      "any.localhost",
      "ip6-localhost",
      "0.0.0.0",
      "0",
      "[::]",
      "[::1]",
      "[0:0:0:0:0:0:0:1]",
      "[::ffff:127.0.0.1]",
      "[::ffff:7f00:1]",
      "[::127.0.0.1]",
      "[64:ff9b::7f00:1]",
      "[2002:7f00:1::]",
      "169.254.169.254",
      "10.0.0.1",
      "172.16.0.1",
      "192.168.0.1",
      "100.64.0.1",
      "100.100.100.200",
      "168.63.129.16",
      "224.0.0.1",
      "255.255.255.255",
      "[fe80::1]",
      "[fc00::1]",
      "[fd00:ec2::254]",
      "[ff02::1]",
      "127.0.0.1\\@console.rivery.io",
      "console.rivery.io@127.0.0.1",
  };
  Limits limits = kLimits;
  limits.call_timeout = milliseconds(1000);
  const Client client({}, limits, {});
  for (const std::string& host : hosts) {
    for (const std::string scheme : {"http://", "https://"}) {
      const auto listed = List(scheme + host + port + "/api", client);
      ASSERT_FALSE(listed) << host;
      EXPECT_EQ(listed.error().fate, Fate::kNeverSent) << host;
    }
  }
  // Names are judged by what they resolve to.
  ExpectFailure(List("https://any.localhost" + port + "/api", client), Code::kInvalid,
                Fate::kNeverSent);
  EXPECT_EQ(listener.Accepted(), 0);
  // The same listener is reached once it may be.
  ExpectFailure(List("https://any.localhost" + port + "/api"), Code::kUnavailable,
                Fate::kNeverSent);
  EXPECT_GT(listener.Accepted(), 0);
}

TEST_F(HttpTest, Reach_NeverSendsPlainHttpToANameThatIsNotLoopback) {
  ExpectFailure(List("http://any.localhost:1/api"), Code::kInvalid, Fate::kNeverSent);
  ExpectFailure(List("http://10.0.0.1/api", Client({}, kLimits, {.allow_private = true})),
                Code::kInvalid, Fate::kNeverSent);
}

TEST_F(HttpTest, Environment_NamesNoProxyThatIsUsed) {
  Listener proxy([](int) {});
  Listener listener(Answering([](const std::string&) { return HttpText("200 OK", "[]"); }));
  for (const char* name : {"http_proxy", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"}) {
    setenv(name, proxy.Url("http", "127.0.0.1").c_str(), 1);
  }
  EXPECT_TRUE(List(listener.Url("http", "127.0.0.1")));
  EXPECT_EQ(proxy.Accepted(), 0);
}

TEST_F(HttpTest, Token_ThatWouldAddAHeaderLineIsRefused) {
  Listener listener([](int) {});
  for (const std::string_view token :
       {"", "a\r\nX: y", "a\nb", "a b", "a\x7f", "\xc3\xa9"}) {
    token_ = crypto::ApiToken(crypto::SecretBytes::CopyOf(token));
    ExpectFailure(List(listener.Url("http", "127.0.0.1")), Code::kInvalid, Fate::kNeverSent);
  }
  EXPECT_EQ(listener.Accepted(), 0);
}

TEST_F(HttpTest, Answer_ThatEchoesTheRequestLeavesNoTraceInTheError) {
  for (const std::string status : {"422 canary-access-token", "400 Bad Request", "500 Oops"}) {
    Listener listener(Answering([&](const std::string& request) {
      const std::string body = request.substr(request.find("\r\n\r\n") + 4);
      return HttpText(status, "{\"detail\":[{\"msg\":" + body + "}]}",
                      "Location: /canary-api-token\r\nRetry-After: canary\r\n");
    }));
    const auto created = Create(listener.Url("http", "127.0.0.1"));
    ASSERT_FALSE(created);
    EXPECT_FALSE(created.error().error.Message().contains("canary"));
    EXPECT_EQ(created.error().http_status, std::stoi(status));
  }
}

TEST_F(HttpTest, Answer_WithoutUsableContentLeavesACreateUnclear) {
  const std::string bodies[] = {
      "",
      "[]",
      "{}",
      "<html>welcome</html>",
      R"({"status_code":200,"message":"connection saved"})",
      R"({"_id":"short","status_code":200})",
      R"({"_id":"5f0000000000000000000001","_id":"5f0000000000000000000002"})",
      R"({"_id":{"$oid":"../../../../../../../.."}})",
      R"({"Code":500,"message":"inside"})",
  };
  for (const std::string& body : bodies) {
    SCOPED_TRACE(body);
    Listener listener(Answering([&](const std::string&) { return HttpText("200 OK", body); }));
    ExpectFailure(Create(listener.Url("http", "127.0.0.1")), Code::kUnavailable, Fate::kUnclear);
  }
}

TEST_F(HttpTest, Answer_AfterInterimOnesIsTheOneThatCounts) {
  Listener listener(Answering([](const std::string&) {
    return "HTTP/1.1 103 Early Hints\r\nRetry-After: 99\r\n\r\n" +
           HttpText("429 Too Many Requests", "{}", "retry-after:  7 \r\n");
  }));
  const auto created = Create(listener.Url("http", "127.0.0.1"));
  ExpectFailure(created, Code::kExhausted, Fate::kRefused);
  EXPECT_EQ(created.error().retry_after, seconds(7));
}

TEST_F(HttpTest, Fetch_TellsPendingFromDoneByContentAlone) {
  const struct {
    std::string status;
    std::string body;
    bool pending;
  } rows[] = {
      {"202 Accepted", "", true},
      {"204 No Content", "", true},
      {"200 OK", "{}", true},
      {"200 OK", "[]", true},
      {"200 OK", R"({"status_code":200,"message":"waiting"})", true},
      {"200 OK", R"({"status":true,"oauth_token":"t"})", true},
      {"200 OK", R"({"status_code":100,"access_token":"t"})", true},
      {"200 OK", R"({"status_code":200,"access_token":"t"})", false},
      {"200 OK", R"({"status":201,"oauth_token":"t"})", false},
      {"202 Accepted", R"({"Code":202,"refresh_token":"t"})", false},
      {"200 OK", R"({"access_token":"t","status":true,"client_id":"c"})", false},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.body);
    Listener listener(
        Answering([&](const std::string&) { return HttpText(row.status, row.body); }));
    const auto pull_id = crypto::SecretBytes::CopyOf("canary.pull.id");
    const auto auth_uri = crypto::SecretBytes::CopyOf("https://canary.example/?state=canary");
    const auto fetched = Client({}, kLimits, kLoopback)
                             .FetchOauth({.base_url = listener.Url("http", "127.0.0.1"),
                                          .token = token_},
                                         pull_id, auth_uri);
    ASSERT_TRUE(fetched);
    EXPECT_EQ(fetched->pending, row.pending);
    EXPECT_EQ(fetched->data.Bytes().Size(), row.pending ? 0 : row.body.size());
    EXPECT_TRUE(Requests().back().ends_with(
        R"({"pull_id":"canary.pull.id","auth_uri":"https://canary.example/?state=canary"})"));
  }
}

TEST_F(HttpTest, Start_TakesNoAddressThatIsNotOfTheWeb) {
  for (const std::string uri : {"javascript:alert(1)", "ftp://x/", "", "https://a b/"}) {
    Listener listener(Answering([&](const std::string&) {
      return HttpText("200 OK", R"({"pull_id":"a.b.c","auth_uri":")" + uri + "\"}");
    }));
    const auto started =
        Client({}, kLimits, kLoopback)
            .StartOauth({.base_url = listener.Url("http", "127.0.0.1"), .token = token_}, "fb",
                        seconds(300));
    ExpectFailure(started, Code::kUnavailable, Fate::kUnclear);
  }
}

TEST_F(HttpTest, List_EndsWhereNextPagesDoNot) {
  Listener listener(Answering([](const std::string&) {
    return HttpText("200 OK",
                    "{\"items\":[{\"_id\":\"5f0000000000000000000001\"}" + [] {
                      std::string more;
                      for (int i = 0; i < 999; ++i) {
                        more += ",{\"_id\":\"5f0000000000000000000001\"}";
                      }
                      return more;
                    }() + "],\"next_page\":\"?page=2\"}");
  }));
  ExpectFailure(List(listener.Url("http", "127.0.0.1")), Code::kExhausted, Fate::kUnclear);
  EXPECT_EQ(Requests().size(), 11U);
}

TEST_F(HttpTest, Calls_FromManyThreadsDoNotMix) {
  Listener listener(Answering([](const std::string& request) {
    const std::size_t at = request.find("connection_type=") + 16;
    const std::string type = request.substr(at, request.find(' ', at) - at);
    return HttpText("200 OK",
                    "[{\"_id\":\"5f0000000000000000000001\",\"connection_type\":\"" + type +
                        "\",\"connection_name\":\"" + type + "\"}]",
                    "Connection: close\r\n");
  }));
  const Client client({}, kLimits, kLoopback);
  const Endpoint endpoint{.base_url = listener.Url("http", "127.0.0.1"), .token = token_};
  std::vector<std::thread> threads;
  std::atomic<int> right = 0;
  for (int t = 0; t < 8; ++t) {
    threads.emplace_back([&, t] {
      const std::string type = "type-" + std::to_string(t);
      for (int i = 0; i < 10; ++i) {
        const auto listed = client.List(endpoint, type);
        right += listed && listed->size() == 1 && (*listed)[0].name == type ? 1 : 0;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(right, 80);
}

}  // namespace
}  // namespace oauthvault::rivery
