#include "daemon/rpc/counters.h"

#include <initializer_list>
#include <string_view>
#include <utility>

namespace oauthvault::rpc {
namespace {

using Reason = std::pair<std::string_view, std::uint64_t>;

void WriteRefused(std::string_view name, std::string_view help,
                  std::initializer_list<Reason> reasons, metrics::Exposition& out) {
  out.Begin(name, "counter", help);
  for (const auto& [reason, count] : reasons) {
    out.Sample("", {{"reason", reason}}, static_cast<double>(count));
  }
}

}  // namespace

void Write(const Counters& counters, metrics::Exposition& out) {
  const DoorCounters& tcp = counters.tcp;
  const CallCounters& calls = counters.calls;
  out.Gauge("oauthvault_grpc_connections", "Open connections of gRPC's TCP door.", tcp.open);
  WriteRefused("oauthvault_connections_refused_total",
               "Connections that gRPC's TCP door turned away.",
               {{"in_all", tcp.refused_in_all},
                {"of_address", tcp.refused_of_address},
                {"at_handshake", tcp.refused_at_handshake},
                {"without_descriptor", tcp.refused_without_descriptor}},
               out);
  out.Gauge("oauthvault_grpc_calls_under_way", "Calls of gRPC that are under way.",
            calls.under_way);
  WriteRefused("oauthvault_calls_refused_total",
               "Calls of gRPC that were refused before a decision.",
               {{"too_many", calls.too_many},
                {"out_of_bounds", calls.out_of_bounds},
                {"too_late", calls.too_late}},
               out);
}

}  // namespace oauthvault::rpc
