#include <gtest/gtest.h>
#include <sys/resource.h>

#include <functional>
#include <iostream>
#include <string>
#include <vector>

#include "daemon/rivery/client.h"
#include "tests/daemon/rivery/listener.h"

namespace oauthvault::rivery {
namespace {

// What is kept of an answer, the two copies while it grows, and what the parser makes of it take a
// few times the cap of 4 MiB; one answer that is taken whole takes more than this. AddressSanitizer
// keeps what was freed for a while, so its build allows more.
constexpr long kMostGrowthKib = long{OAUTHVAULT_MOST_GROWTH_MIB} * 1024;
constexpr std::size_t kHugeBytes = std::size_t{100} * 1024 * 1024;

std::string Repeated(std::string_view text, std::size_t times) {
  std::string all;
  all.reserve(text.size() * times);
  for (std::size_t i = 0; i < times; ++i) all += text;
  return all;
}

/// 258 MB of blanks in 1.6 MB of gzip (RFC 1951, 3.2.6: one blank, then lengths of 258 at distance
/// 1, each of 13 bits). It does not end, since nobody should come that far.
std::string GzipBomb() {
  std::string bomb("\x1f\x8b\x08\0\0\0\0\0\0\x03", 10);
  unsigned held = 0;
  unsigned bits = 0;
  const auto put = [&](std::string_view text) {
    for (const char bit : text) {
      bits |= (bit == '1' ? 1U : 0U) << held;
      if (++held < 8) continue;
      bomb += static_cast<char>(bits);
      held = bits = 0;
    }
  };
  put("11001010000");
  for (int i = 0; i < 1'000'000; ++i) put("1100010100000");
  return bomb;
}

/// Writes a head, then `part` until so many bytes are out or the peer is gone.
std::function<void(int)> Pouring(std::string head, std::string part, std::size_t bytes) {
  return [=](int fd) {
    ReadRequest(fd);
    if (!WriteAll(fd, head)) return;
    for (std::size_t sent = 0; sent < bytes && WriteAll(fd, part); sent += part.size()) {
    }
  };
}

std::function<void(int)> Answering(std::string body, std::string headers = {}) {
  return [=](int fd) {
    ReadRequest(fd);
    WriteAll(fd, HttpText("200 OK", body, headers + "Connection: close\r\n"));
  };
}

long PeakKib() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return usage.ru_maxrss;
}

TEST(HostileTest, EveryAnswer_EndsInATypedErrorAndBoundedMemory) {
  const std::string ok = "HTTP/1.1 200 OK\r\n";
  const std::string id = R"("_id":"5f0000000000000000000001")";
  const struct {
    std::string name;
    Code code;
    std::function<void(int)> serve;
  } rows[] = {
      {"a gzip bomb", Code::kUnavailable, Answering(GzipBomb(), "Content-Encoding: gzip\r\n")},
      {"a gzip bomb on the way", Code::kExhausted,
       Pouring(ok + "Transfer-Encoding: gzip\r\n\r\n", GzipBomb(), 1)},
      {"lists, 10^6 deep", Code::kUnavailable, Answering(std::string(1'000'000, '['))},
      {"objects, 600,000 deep", Code::kUnavailable, Answering(Repeated(R"({"a":)", 600'000))},
      {"a number beyond all", Code::kUnavailable, Answering("[{" + id + R"(,"n":1e999}])")},
      {"a number of 3,000,000 digits", Code::kUnavailable,
       Answering("[{" + id + R"(,"n":)" + std::string(3'000'000, '7') + "}]")},
      {"a key twice", Code::kUnavailable, Answering("[{" + id + "," + id + "}]")},
      {"300,000 keys", Code::kUnavailable,
       Answering("{" + [] {
         std::string keys;
         for (int i = 0; i < 300'000; ++i) keys += "\"" + std::to_string(i) + "\":0,";
         return keys;
       }() + "\"z\":0}")},
      {"1,000,000 items", Code::kExhausted,
       Answering("[" + Repeated("{},", 999'999) + "{}]")},
      {"no UTF-8", Code::kUnavailable, Answering("[{" + id + ",\"n\":\"\xff\"}]")},
      {"half a surrogate pair", Code::kUnavailable, Answering("[{" + id + R"(,"n":"\ud800"}])")},
      {"a NUL in a text", Code::kUnavailable,
       Answering("[{" + id + std::string(",\"n\":\"a\0b\"}]", 13))},
      {"an escaped NUL in an id", Code::kUnavailable,
       Answering(R"([{"_id":"5f0000000000000000000001\u0000"}])")},
      {"100 MB, announced", Code::kExhausted,
       Pouring(ok + "Content-Length: " + std::to_string(kHugeBytes) + "\r\n\r\n",
               std::string(65'536, ' '), kHugeBytes)},
      {"100 MB, not announced", Code::kExhausted,
       Pouring(ok + "\r\n", std::string(65'536, ' '), kHugeBytes)},
      {"no end", Code::kExhausted,
       Pouring(ok + "Transfer-Encoding: chunked\r\n\r\n",
               "10000\r\n" + std::string(65'536, ' ') + "\r\n", SIZE_MAX)},
      {"a header line without an end", Code::kUnavailable,
       Pouring(ok + "X: ", std::string(65'536, 'x'), SIZE_MAX)},
  };
  const Client client({}, Limits{}, {.allow_loopback = true});
  const crypto::ApiToken token(crypto::SecretBytes::CopyOf("canary-api-token"));
  const auto credentials = crypto::SecretBytes::CopyOf(R"({"access_token":"canary"})");
  const long before_kib = PeakKib();
  for (const auto& row : rows) {
    SCOPED_TRACE(row.name);
    const Listener listener(row.serve);
    const std::string url = listener.Url("http", "127.0.0.1");
    const Endpoint endpoint{.base_url = url, .token = token};
    const auto expect = [&](const auto& reply) {
      ASSERT_FALSE(reply);
      EXPECT_EQ(NameOf(reply.error().error.GetCode()), NameOf(row.code))
          << reply.error().error.Message();
      EXPECT_EQ(reply.error().fate, Fate::kUnclear);
      EXPECT_FALSE(reply.error().error.Message().contains("canary"));
    };
    expect(client.List(endpoint, "fb"));
    expect(client.Create(endpoint, "fb", "n", credentials));
  }
  const long growth_kib = PeakKib() - before_kib;
  RecordProperty("peak_growth_kib", std::to_string(growth_kib));
  std::cout << "the peak of memory grew by " << growth_kib << " KiB over "
            << 2 * std::size(rows) << " hostile answers\n";
  EXPECT_LE(growth_kib, kMostGrowthKib);
}

}  // namespace
}  // namespace oauthvault::rivery
