#include "daemon/rpc/counters.h"

#include <gtest/gtest.h>

#include <string>
#include <utility>

namespace oauthvault::rpc {
namespace {

TEST(Counters, AreWrittenAsMetricsWithAWordForEachReason) {
  Counters counters;
  counters.tcp.open = 1;
  counters.tcp.refused_in_all = 2;
  counters.tcp.refused_of_address = 3;
  counters.tcp.refused_at_handshake = 4;
  counters.tcp.refused_without_descriptor = 5;
  counters.calls.under_way = 6;
  counters.calls.too_many = 7;
  counters.calls.out_of_bounds = 8;
  counters.calls.too_late = 9;
  metrics::Exposition out;
  Write(counters, out);
  const std::string text = std::move(out).Take();
  for (const char* line : {
           "oauthvault_grpc_connections 1\n",
           "# TYPE oauthvault_connections_refused_total counter\n",
           "oauthvault_connections_refused_total{reason=\"in_all\"} 2\n",
           "oauthvault_connections_refused_total{reason=\"of_address\"} 3\n",
           "oauthvault_connections_refused_total{reason=\"at_handshake\"} 4\n",
           "oauthvault_connections_refused_total{reason=\"without_descriptor\"} 5\n",
           "oauthvault_grpc_calls_under_way 6\n",
           "oauthvault_calls_refused_total{reason=\"too_many\"} 7\n",
           "oauthvault_calls_refused_total{reason=\"out_of_bounds\"} 8\n",
           "oauthvault_calls_refused_total{reason=\"too_late\"} 9\n"}) {
    EXPECT_NE(text.find(line), std::string::npos) << line << text;
  }
}

}  // namespace
}  // namespace oauthvault::rpc
