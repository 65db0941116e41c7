#pragma once

#include <chrono>

#include "daemon/rivery/attempts.h"
#include "daemon/rivery/catalogue.h"
#include "daemon/rpc/edge.h"
#include "daemon/rpc/ticker.h"
#include "daemon/rpc/workers.h"
#include "oauthvault/v1/attempts.grpc.pb.h"
#include "storage/tables/store.h"

namespace oauthvault::rpc {

/// A stream decides again at least this often, also when nothing happens on it.
inline constexpr std::chrono::seconds kStreamDecisionInterval{10};

/// attempts.proto: durable runs of the Rivery flow.
class AttemptsService final : public v1::Attempts::CallbackService {
 public:
  /// `rivery_workers` run what may wait for Rivery.
  AttemptsService(const Edge& edge, Workers& workers, Workers& rivery_workers,
                  const storage::Store& store, rivery::Attempts& attempts,
                  rivery::Catalogue& catalogue, Ticker& ticker)
      : edge_(edge), workers_(workers), rivery_workers_(rivery_workers), store_(store),
        attempts_(attempts), catalogue_(catalogue), ticker_(ticker) {}

  grpc::ServerUnaryReactor* Authorize(grpc::CallbackServerContext*, const v1::AuthorizeRequest*,
                                      v1::Attempt*) override;
  grpc::ServerUnaryReactor* Connect(grpc::CallbackServerContext*, const v1::ConnectRequest*,
                                    v1::Attempt*) override;
  grpc::ServerUnaryReactor* Get(grpc::CallbackServerContext*, const v1::GetAttemptRequest*,
                                v1::Attempt*) override;
  grpc::ServerUnaryReactor* GetLink(grpc::CallbackServerContext*, const v1::GetLinkRequest*,
                                    v1::GetLinkResponse*) override;
  grpc::ServerUnaryReactor* List(grpc::CallbackServerContext*, const v1::ListAttemptsRequest*,
                                 v1::ListAttemptsResponse*) override;
  grpc::ServerWriteReactor<v1::Attempt>* Watch(grpc::CallbackServerContext*,
                                               const v1::WatchAttemptRequest*) noexcept override;
  grpc::ServerUnaryReactor* Cancel(grpc::CallbackServerContext*, const v1::CancelAttemptRequest*,
                                   v1::Attempt*) override;
  grpc::ServerUnaryReactor* Resume(grpc::CallbackServerContext*, const v1::ResumeAttemptRequest*,
                                   v1::Attempt*) override;

 private:
  /// Whether Rivery knows the names that the component will be sent under, where it has any.
  Result<void> CheckNames(const Admitted& admitted, const rivery::Order& order, bool authorizes);

  const Edge& edge_;
  Workers& workers_;
  Workers& rivery_workers_;
  const storage::Store& store_;
  rivery::Attempts& attempts_;
  rivery::Catalogue& catalogue_;
  Ticker& ticker_;
};

}  // namespace oauthvault::rpc
