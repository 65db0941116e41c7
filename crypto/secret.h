#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string_view>
#include <utility>

#include "crypto/error.h"

namespace oauthvault::crypto {

/// Bytes that nobody may see by accident: move-only, wiped when destroyed and when moved from,
/// not printable, compared in constant time only. Plain heap memory (guarded allocations cost 40 us
/// each), but for `Key`. Two doors lead to the bytes, and a golden file counts their uses: `Expose`
/// and `Fill`.
/// Threads: as std::string (concurrent reads only).
class SecretBytes {
 public:
  SecretBytes() = default;
  /// `size_bytes` zero bytes.
  explicit SecretBytes(std::size_t size_bytes);
  ~SecretBytes();
  SecretBytes(SecretBytes&& other) noexcept;
  SecretBytes& operator=(SecretBytes&& other) noexcept;
  SecretBytes(const SecretBytes&) = delete;
  SecretBytes& operator=(const SecretBytes&) = delete;

  /// 32 zero bytes in locked memory (locked_memory.h), for a key that lives long: never swapped, in
  /// no core file, zero in a forked child. Errors: Exhausted.
  static Result<SecretBytes> Key();

  std::size_t Size() const { return size_; }
  bool Empty() const { return size_ == 0; }

  /// A second copy, for the rare owner that needs its own; on the heap.
  SecretBytes Clone() const;
  /// A second copy of 32 bytes in locked memory; another size ends the process. Errors: Exhausted.
  Result<SecretBytes> CloneKey() const;

  /// Constant time in the content; the sizes are not secret.
  bool Equals(const SecretBytes& other) const;

  /// The door to read: calls `read` with the bytes, valid during the call only.
  template <class F>
  auto Expose(F&& read) const {
    return std::forward<F>(read)(std::span<const std::uint8_t>(bytes_, size_));
  }

  /// The door to write: calls `write` with the bytes, valid during the call only.
  template <class F>
  auto Fill(F&& write) {
    return std::forward<F>(write)(std::span<std::uint8_t>(bytes_, size_));
  }

  /// Takes a copy of bytes that are secret already outside; the caller wipes its own.
  static SecretBytes CopyOf(std::span<const std::uint8_t> bytes);
  /// The same for text.
  static SecretBytes CopyOf(std::string_view text);

  /// Shortens to `size_bytes` (at most `Size()`) and wipes the rest.
  void Truncate(std::size_t size_bytes);

 private:
  std::uint8_t* bytes_ = nullptr;
  std::size_t size_ = 0;      // in use
  std::size_t capacity_ = 0;  // allocated, all of it wiped at the end
  bool locked_ = false;       // a slot of the locked memory, else the heap's
};

/// A secret of one kind: an access token is not an app secret, and a root key is neither.
template <class Tag>
class Secret {
 public:
  Secret() = default;
  explicit Secret(SecretBytes bytes) : bytes_(std::move(bytes)) {}

  const SecretBytes& Bytes() const { return bytes_; }
  SecretBytes& Bytes() { return bytes_; }
  /// The bytes, moved out; what is left is empty.
  SecretBytes Take() && { return std::move(bytes_); }
  bool Empty() const { return bytes_.Empty(); }

 private:
  SecretBytes bytes_;
};

/// The provider's response, byte for byte (`#data`).
using CredentialsData = Secret<struct CredentialsDataTag>;
/// The OAuth client secret that goes with credentials (`#appSecret`); may be empty.
using AppSecret = Secret<struct AppSecretTag>;
/// A Rivery API token.
using ApiToken = Secret<struct ApiTokenTag>;

/// Wipes a buffer that held a secret and could not be a SecretBytes (a library's own string).
void Wipe(std::span<std::uint8_t> bytes);
/// The same for a string; it is empty afterwards.
void Wipe(std::string& text);

/// Prepares libsodium; must have succeeded before anything else of this room is used.
/// Errors: Unavailable when the library cannot start. Threads: any, repeatable.
Result<void> Prepare();

}  // namespace oauthvault::crypto
