#pragma once

#include "daemon/http/exchange.h"
#include "daemon/http/visit.h"
#include "daemon/metrics/calls.h"

namespace oauthvault::http {

struct Route;

/// The one place through which every request goes: the route, who calls, the decision, the line for
/// a denial; only then a story, and an audited one leaves its line before the answer. What gRPC's
/// edge is there. It also counts. Threads: any.
class Edge {
 public:
  /// `vault` is null while the vault is sealed: only what answers then does.
  Edge(Vault* vault, metrics::Calls& calls, const Gauges& gauges)
      : vault_(vault), calls_(calls), gauges_(gauges) {}

  /// Answers a request. Nothing throws out of here.
  Reply Answer(const Request& request) const noexcept;

 private:
  Result<Reply> Take(const Request& request, const Route*& route) const;
  Result<void> Admit(const Route& route, Visit& visit) const;
  Result<void> Deny(const Error& error, Visit& visit) const;

  Vault* const vault_;
  metrics::Calls& calls_;
  const Gauges& gauges_;
};

}  // namespace oauthvault::http
