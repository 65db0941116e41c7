#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <filesystem>
#include <map>
#include <set>
#include <string>
#include <vector>

namespace oauthvault {

/// The version, as the project's CMakeLists.txt names it.
const char* Version();

/// All settings of `oauthvaultd`. deploy/oauthvaultd.toml documents each; flag > environment
/// OAUTHVAULT_* > file > the default here.
struct Config {
  std::filesystem::path state = "/var/lib/oauthvault";  ///< holds `keys` and `store/`
  std::filesystem::path audit = "/var/lib/oauthvault/audit";
  /// The slot that opens the vault at start: a path, or `credential:NAME` for a systemd credential.
  /// Empty, or nothing there: the vault starts sealed.
  std::string key_file = "/etc/oauthvault/key";
  std::filesystem::path socket = "/run/oauthvault/admin.sock";
  std::string listen = "127.0.0.1:8443";  ///< address:port; port 0 takes a free one
  /// Names and addresses that clients reach the daemon by; they stand in its certificate.
  std::vector<std::string> names = {"localhost", "127.0.0.1"};
  std::string trust_domain = "oauthvault";
  std::string log_level = "info";  ///< debug, info, warning, error
  /// Whether the store is checked before anything is served, or in the background.
  enum class Fsck : std::uint8_t { kBefore, kBehind } fsck = Fsck::kBefore;
  bool allow_unlocked = false;  ///< serve also where keys cannot be kept out of swap

  struct {
    std::uint64_t map_size_mib = 1024;
  } store;

  struct {
    std::uint32_t kept_versions = 10;
  } custody;

  struct {
    std::uint32_t kept_days = 30;
  } identities;

  struct {
    std::uint32_t kept_days = 90;
  } attempts;

  struct {
    std::uint32_t max_connections = 1000;
    std::uint32_t max_connections_per_address = 256;
    std::uint32_t max_handshakes = 256;
    std::uint32_t handshake_timeout_ms = 3000;
    std::uint32_t max_calls = 512;
    std::uint32_t max_calls_per_principal = 128;
    std::uint32_t stop_timeout_ms = 4000;
  } edge;

  struct {
    std::string listen;  ///< address:port; empty: no HTTP interface
    std::filesystem::path certificate;  ///< PEM; empty: plain HTTP, on loopback only
    std::filesystem::path key;
    std::uint32_t max_connections = 256;
    std::uint32_t max_connections_per_address = 32;
  } http;

  struct {
    /// The operator's own server certificate (registry/server_pair.h); empty: the built-in CA's.
    std::filesystem::path certificate_folder;
  } tls;

  struct {
    bool allow_loopback = false;
    bool allow_private = false;
    /// CAs that are trusted for Rivery, PEM; empty: the system's.
    std::string ca_file;
    std::uint32_t calls_per_minute = 15;
    std::uint32_t poll_interval_ms = 4000;
    std::uint32_t retry_interval_ms = 5000;
    std::uint32_t settle_time_ms = 20000;
    std::uint32_t update_pause_ms = 5000;
    std::uint32_t catalogue_max_age_s = 3600;
    bool allow_unchecked = false;
    /// HTTP statuses that mean "no consent yet", beside 2xx.
    std::set<int> pending_statuses;
    /// Operation -> "VERB /path", over the table of the client.
    std::map<std::string, std::string> routes;
  } rivery;

  std::filesystem::path KeysFile() const { return state / "keys"; }
  std::filesystem::path StoreFolder() const { return state / "store"; }
  /// Where the key file is looked for; empty: nowhere. A credential is looked for in the folder
  /// that systemd names in CREDENTIALS_DIRECTORY.
  std::filesystem::path KeyFile() const;
};

/// What `oauthvaultd` was asked to do. kCheckChild is what a check runs in a process of its own.
enum class Command : std::uint8_t {
  kServe,
  kInit,
  kFsck,
  kRestore,
  kRecover,
  kVerifyAudit,
  kCheckChild,
};

/// The command line, read.
struct Invocation {
  Command command = Command::kServe;
  Config config;
  /// serve: begin sealed, although the key file could open the vault.
  bool sealed = false;

  /// init, recover: the slot to make. `shares` is `K/N`, for that kind.
  std::string slot = "key_file";
  std::string shares;
  std::filesystem::path out;  ///< recover: where a new key file goes
  /// restore: a backup's folder, or empty for the store as it stands.
  std::filesystem::path backup;
  bool present = false;
  std::string reason;
  /// verify-audit: without any key of the vault where `public_key` is given; an extract instead of
  /// the trail where one is.
  std::string public_key;
  std::vector<std::filesystem::path> checkpoints;
  std::filesystem::path extract;
  /// kCheckChild: what to check.
  std::filesystem::path check_folder;
  std::filesystem::path check_keys;
};

/// Ends the program: help and version with 0, a user's error with 1.
struct Ending {
  int exit_code;
  std::string text;  ///< for standard output (0) or standard error
};

/// Reads flags, environment and file. Every key that is not known, every value of the wrong type
/// or out of its range, a missing file, are errors that say where and what to do.
std::expected<Invocation, Ending> ReadInvocation(int argc, const char* const* argv);

/// Reads a configuration in TOML over `config`. `source` stands in messages.
std::expected<void, std::string> ReadToml(const std::string& text, const std::string& source,
                                          Config& config);

}  // namespace oauthvault
