// A sealed value from outside, as text and as bytes behind a right prefix. Nothing that this vault
// did not seal may open, and an error says nothing of it.

#include <sodium.h>

#include <array>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "crypto/keyring.h"
#include "daemon/custody/sealed_value.h"
#include "tests/fuzz/input.h"

namespace oauthvault::custody {
namespace {

void Check(bool holds) {
  if (!holds) std::abort();
}

/// A keyring in a folder of its own, gone with the process.
class Vault {
 public:
  Vault() {
    Check(crypto::Prepare().has_value());
    std::string pattern = (std::filesystem::temp_directory_path() / "fuzz.XXXXXX").string();
    Check(::mkdtemp(pattern.data()) != nullptr);
    folder_ = pattern;
    auto made = crypto::Keyring::Create(folder_ / "keys", crypto::NewSlotSecret(), "fuzz");
    Check(made.has_value());
    keys_ = std::move(*made);
    std::filesystem::remove_all(folder_);
  }

  const crypto::Keyring& Keys() const { return *keys_; }

 private:
  std::filesystem::path folder_;
  std::unique_ptr<crypto::Keyring> keys_;
};

void TryToOpen(std::string_view sealed) {
  static const Vault vault;
  static const ValueContext context{*ProjectId::Parse("acme"), *ComponentId::Parse("sheets"),
                                    *ConfigurationId::Parse("c"), BranchType::kDev};
  const auto opened = OpenValue(vault.Keys(), context, sealed);
  Check(!opened.has_value());
  Check(opened.error().GetCode() == Code::kInvalid);
  Check(opened.error().GetSubject().empty());
}

void OneInput(std::span<const std::uint8_t> bytes) {
  const std::string_view text = fuzz::AsText(bytes);
  TryToOpen(text);
  std::string base64(sodium_base64_ENCODED_LEN(bytes.size(), sodium_base64_VARIANT_ORIGINAL), '\0');
  sodium_bin2base64(base64.data(), base64.size(), bytes.data(), bytes.size(),
                    sodium_base64_VARIANT_ORIGINAL);
  base64.pop_back();
  constexpr std::array<std::string_view, 5> kPrefixes = {
      "KBC::ComponentSecure::", "KBC::ProjectSecure::", "KBC::ConfigSecure::",
      "KBC::ProjectWideSecure::", "KBC::BranchTypeSecure::"};
  for (const std::string_view prefix : kPrefixes) TryToOpen(std::string(prefix) + base64);
  if (const auto value = crypto::SealedValue::Parse(bytes)) {
    Check(value->PlainSize() + crypto::kValueOverhead == bytes.size());
  }
  if (const auto part = crypto::SealedPart::Parse(bytes)) {
    Check(part->PlainSize() < bytes.size());
    Check(part->KekVersion() != 0 && part->RecordVersion() != 0);
  }
}

}  // namespace
}  // namespace oauthvault::custody

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  oauthvault::custody::OneInput({data, size});
  return 0;
}
