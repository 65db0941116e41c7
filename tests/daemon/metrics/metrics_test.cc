#include <gtest/gtest.h>

#include <chrono>
#include <string>
#include <utility>

#include "daemon/metrics/calls.h"
#include "daemon/metrics/exposition.h"

namespace oauthvault::metrics {
namespace {

using std::chrono::microseconds;

std::string TextOf(const Calls& calls) {
  Exposition out;
  calls.Write(out);
  return std::move(out).Take();
}

TEST(Exposition, Numbers_AreWrittenInTheirShortestForm) {
  EXPECT_EQ(Exposition::Number(0), "0");
  EXPECT_EQ(Exposition::Number(0.00025), "0.00025");
  EXPECT_EQ(Exposition::Number(1), "1");
  EXPECT_EQ(Exposition::Number(1454199210), "1454199210");
  Exposition out;
  out.Gauge("a_b", "What it is.", 2.5);
  EXPECT_EQ(std::move(out).Take(), "# HELP a_b What it is.\n# TYPE a_b gauge\na_b 2.5\n");
}

TEST(Calls, AreCountedByDoorMethodAndOutcome) {
  Calls calls;
  calls.Count(Door::kGrpc, "Credentials.Reveal", "OK", microseconds(900));
  calls.Count(Door::kGrpc, "Credentials.Reveal", "OK", microseconds(2'000));
  calls.Count(Door::kGrpc, "Credentials.Reveal", "DENIED", microseconds(10));
  calls.Count(Door::kHttp, "Credentials.List", "OK", std::chrono::seconds(100));
  const std::string text = TextOf(calls);
  for (const char* line : {
           "oauthvault_calls_total{door=\"grpc\",method=\"Credentials.Reveal\","
           "outcome=\"OK\"} 2\n",
           "oauthvault_calls_total{door=\"grpc\",method=\"Credentials.Reveal\","
           "outcome=\"DENIED\"} 1\n",
           "oauthvault_calls_total{door=\"http\",method=\"Credentials.List\","
           "outcome=\"OK\"} 1\n"}) {
    EXPECT_NE(text.find(line), std::string::npos) << line << text;
  }
}

TEST(Calls, Buckets_AreCumulativeAndABoundBelongsToItsBucket) {
  Calls calls;
  calls.Count(Door::kGrpc, "m", "OK", microseconds(250));
  calls.Count(Door::kGrpc, "m", "OK", microseconds(251));
  calls.Count(Door::kGrpc, "m", "OK", std::chrono::seconds(60));
  const std::string text = TextOf(calls);
  const std::string series = "oauthvault_call_seconds_bucket{door=\"grpc\",method=\"m\",le=";
  EXPECT_NE(text.find(series + "\"0.00025\"} 1\n"), std::string::npos) << text;
  EXPECT_NE(text.find(series + "\"0.0005\"} 2\n"), std::string::npos) << text;
  EXPECT_NE(text.find(series + "\"5\"} 2\n"), std::string::npos) << text;
  EXPECT_NE(text.find(series + "\"+Inf\"} 3\n"), std::string::npos) << text;
  EXPECT_NE(text.find("oauthvault_call_seconds_count{door=\"grpc\",method=\"m\"} 3\n"),
            std::string::npos);
  EXPECT_NE(text.find("oauthvault_call_seconds_sum{door=\"grpc\",method=\"m\"} 60.000501\n"),
            std::string::npos) << text;
}

TEST(Calls, MethodsBeyondTheBound_CountAsOther) {
  Calls calls;
  for (std::size_t i = 0; i < Calls::kMostSeries + 10; ++i) {
    calls.Count(Door::kHttp, "method-" + std::to_string(i), "OK", microseconds(1));
  }
  const std::string text = TextOf(calls);
  EXPECT_NE(text.find("{door=\"http\",method=\"other\",outcome=\"OK\"} 10\n"), std::string::npos);
}

}  // namespace
}  // namespace oauthvault::metrics
