#pragma once

#include <chrono>

#include "crypto/error.h"
#include "daemon/http/exchange.h"
#include "daemon/http/visit.h"

/// What the routes do, one function each. Errors of all: those of the stories in the inner rooms,
/// and Invalid for a body or query that is not of the interface (openapi.json).
namespace oauthvault::http {

/// GET /manage: all components.
Result<Reply> ListComponents(Visit& visit);
/// POST /manage: a new one. Errors: Conflict when it is registered.
Result<Reply> RegisterComponent(Visit& visit);
/// GET /manage/{component}.
Result<Reply> ShowComponent(Visit& visit);
/// PATCH /manage/{component}: members that are absent stay as they are.
Result<Reply> ChangeComponent(Visit& visit);
/// DELETE /manage/{component}.
Result<Reply> RemoveComponent(Visit& visit);

/// GET /credentials/{component}: no secrets, sealed or not.
Result<Reply> ListCredentials(Visit& visit);
/// POST /credentials/{component}: both forms of the body.
Result<Reply> StoreCredentials(Visit& visit);
/// GET /credentials/{component}/{id}: the eight keys, secrets as sealed copies.
Result<Reply> ShowCredentials(Visit& visit);
/// DELETE /credentials/{component}/{id}.
Result<Reply> RemoveCredentials(Visit& visit);

/// POST /encrypt: the body with its `#` values sealed.
Result<Reply> SealBody(Visit& visit);

/// The pair of /authorize: not offered yet.
Result<Reply> NotOffered(Visit& visit);

/// A line that could not be made durable shows in the health for so long, unless one can: whoever
/// asks for the health keeps calls away meanwhile, and without calls there is no line that can.
inline constexpr std::chrono::seconds kAuditFailureShows{10};

/// GET /health/live: the process answers.
Result<Reply> Live(Visit& visit);
/// GET /health and /health/ready: 200 when the vault is open, the store reads and the trail writes,
/// else 503.
Result<Reply> Ready(Visit& visit);
/// GET /metrics, for Prometheus.
Result<Reply> Metrics(Visit& visit);
/// GET /openapi.json.
Result<Reply> Description(Visit& visit);

}  // namespace oauthvault::http
