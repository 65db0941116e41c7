#include "daemon/rpc/door_certificate.h"

#include <pthread.h>
#include <spdlog/spdlog.h>

#include <system_error>
#include <utility>

namespace oauthvault::rpc {

DoorCertificate::DoorCertificate(const registry::CertificateAuthority& authority,
                                 TlsCredentials& tls, audit::Trail& trail, Settings settings,
                                 Clock clock)
    : authority_(authority),
      tls_(tls),
      trail_(trail),
      settings_(std::move(settings)),
      clock_(std::move(clock)) {}

Result<std::unique_ptr<DoorCertificate>> DoorCertificate::Start(
    const registry::CertificateAuthority& authority, TlsCredentials& tls, audit::Trail& trail,
    Settings settings, Clock clock) {
  std::unique_ptr<DoorCertificate> made(
      new DoorCertificate(authority, tls, trail, std::move(settings), std::move(clock)));
  const std::filesystem::path& folder = made->settings_.folder;
  bool shown = false;
  if (!folder.empty()) {
    std::error_code wrong;
    if (!std::filesystem::is_directory(folder, wrong)) {
      return Fail(Code::kInvalid, "the folder of the server's certificate is not there",
                  Subject::Path(folder.string()));
    }
    made->folder_.emplace(folder, made->settings_.names);
    if (auto ready = made->folder_->Prepare(); !ready) return Fail(std::move(ready));
    auto current = made->folder_->Current(made->clock_());
    if (!current) {
      made->Refused(current.error());
    } else if (*current) {
      made->Show(std::move(**current), false);
      shown = true;
    }
  }
  if (!shown) {
    if (auto built_in = made->ShowBuiltIn(); !built_in) return Fail(std::move(built_in));
  }
  made->thread_ = std::thread([raw = made.get()] { raw->Run(); });
  pthread_setname_np(made->thread_.native_handle(), "door-cert");
  return made;
}

DoorCertificate::~DoorCertificate() {
  {
    const std::lock_guard lock(guard_);
    stopping_ = true;
  }
  wake_.notify_all();
  if (thread_.joinable()) thread_.join();
}

void DoorCertificate::Run() {
  std::unique_lock lock(guard_);
  while (!wake_.wait_for(lock, settings_.interval, [this] { return stopping_; })) {
    lock.unlock();
    Look();
    lock.lock();
  }
}

void DoorCertificate::Look() {
  const std::int64_t now_s = clock_();
  if (folder_) {
    auto taken = folder_->Take(now_s);
    if (!taken) return Refused(taken.error());
    if (*taken) {
      const std::string fingerprint = (*taken)->fingerprint;
      Show(std::move(**taken), false);
      return Record("certificate.installed", fingerprint, nullptr);
    }
  }
  const std::int64_t left_s = expires_at_s_ - now_s;
  if (!built_in_ && left_s > 0) {
    if (left_s > kDoorCertificateWarnS) {
      warned_ = false;
    } else if (!std::exchange(warned_, true)) {
      spdlog::warn("the server's certificate ends soon; stage the next one left_s={}", left_s);
    }
    return;
  }
  if (built_in_ && left_s > kDoorCertificateRenewS) return;
  // Its own is due, or the operator's has expired.
  if (auto shown = ShowBuiltIn(); !shown) {
    spdlog::error("no new certificate for the door: {}", shown.error().GetText());
    return;
  }
  Record("certificate.installed", "built-in", nullptr);
}

void DoorCertificate::Show(registry::ServerIdentity identity, bool built_in) {
  expires_at_s_ = identity.expires_at_s;
  built_in_ = built_in;
  warned_ = false;
  spdlog::info("the door shows a certificate from={} sha256={}",
               built_in ? "built-in" : "folder", identity.fingerprint);
  tls_.ShowAs(std::move(identity));
}

Result<void> DoorCertificate::ShowBuiltIn() {
  auto issued = authority_.IssueServer(settings_.names, settings_.trust_domain,
                                       kDoorCertificateTtlS, clock_());
  if (!issued) return Fail(std::move(issued));
  Show(std::move(*issued), true);
  return {};
}

void DoorCertificate::Refused(const Error& why) {
  spdlog::error("the server's certificate is refused, the one before stays: {}", why.Message());
  Record("certificate.refused", "folder", &why);
}

void DoorCertificate::Record(const char* act, const std::string& object, const Error* why) {
  audit::Entry entry{storage::Act{.act = act, .principal = "-", .object = object}};
  entry.outcome = why == nullptr ? audit::Outcome::kAllowed : audit::Outcome::kFailed;
  if (why != nullptr) entry.code = NameOf(why->GetCode());
  // What the door shows does not wait for the trail: the log has it, too.
  if (auto recorded = trail_.RecordAndWait(std::move(entry)); !recorded) {
    spdlog::error("no audit line about the server's certificate: {}", recorded.error().GetText());
  }
}

}  // namespace oauthvault::rpc
