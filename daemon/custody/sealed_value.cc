#include "daemon/custody/sealed_value.h"

#include <sodium.h>

#include <algorithm>
#include <array>
#include <span>
#include <utility>
#include <vector>

#include "daemon/custody/json_text.h"

namespace oauthvault::custody {
namespace {

constexpr int kBase64 = sodium_base64_VARIANT_ORIGINAL;
constexpr std::string_view kStart = "KBC::";

struct ScopeName {
  ValueScope scope;
  std::string_view name;  // as it stands in the prefix
};
constexpr std::array<ScopeName, 5> kScopes = {{
    {ValueScope::kComponent, "ComponentSecure"},
    {ValueScope::kProject, "ProjectSecure"},
    {ValueScope::kConfiguration, "ConfigSecure"},
    {ValueScope::kProjectWide, "ProjectWideSecure"},
    {ValueScope::kBranchType, "BranchTypeSecure"},
}};
constexpr std::string_view kOurMark = "::";
// The prefixes of other vaults: a scope with a cloud's mark, and the forms before scopes.
constexpr std::array<std::string_view, 2> kCloudMarks = {"KV::", "GKMS::"};
constexpr std::array<std::string_view, 3> kLegacyForms = {
    "Encrypted==", "ComponentEncrypted==", "ComponentProjectEncrypted=="};

enum class Sealer : std::uint8_t { kNobody, kThisVault, kAnother };

struct Parsed {
  Sealer by = Sealer::kNobody;
  ValueScope scope = ValueScope::kProject;  // with kThisVault
  std::string_view base64;                  // with kThisVault
};

Parsed ParsePrefix(std::string_view text) {
  if (!text.starts_with(kStart)) return {};
  text.remove_prefix(kStart.size());
  for (const std::string_view form : kLegacyForms) {
    if (text.starts_with(form)) return {Sealer::kAnother};
  }
  for (const auto& [scope, name] : kScopes) {
    if (!text.starts_with(name)) continue;
    const std::string_view rest = text.substr(name.size());
    if (rest.starts_with(kOurMark)) {
      return {Sealer::kThisVault, scope, rest.substr(kOurMark.size())};
    }
    for (const std::string_view mark : kCloudMarks) {
      if (rest.starts_with(mark)) return {Sealer::kAnother};
    }
  }
  return {};
}

std::string_view NameOf(ValueScope scope) {
  return std::ranges::find(kScopes, scope, &ScopeName::scope)->name;
}

std::string_view WordOf(BranchType type) {
  return type == BranchType::kDefault ? "default" : "dev";
}

// Whose KEK seals in a scope, and the names that a value is bound to. Refers to the context.
struct Bound {
  crypto::Owner owner;
  std::vector<std::string_view> names;
};

std::optional<Bound> BoundTo(ValueScope scope, const ValueContext& context) {
  const std::string_view project = context.project.Str();
  const std::string_view component = context.component.Str();
  switch (scope) {
    case ValueScope::kComponent: return Bound{crypto::Owner::Component(component), {component}};
    case ValueScope::kProject: return Bound{crypto::Owner::Project(project), {project, component}};
    case ValueScope::kConfiguration:
      if (!context.configuration) return std::nullopt;
      return Bound{crypto::Owner::Project(project),
                   {project, component, context.configuration->Str()}};
    case ValueScope::kProjectWide: return Bound{crypto::Owner::Project(project), {project}};
    case ValueScope::kBranchType:
      if (!context.branch_type) return std::nullopt;
      return Bound{crypto::Owner::Project(project),
                   {project, component, WordOf(*context.branch_type)}};
  }
  __builtin_unreachable();
}

std::string WithPrefix(ValueScope scope, std::span<const std::uint8_t> bytes) {
  std::string text(kStart);
  text += NameOf(scope);
  text += kOurMark;
  const std::size_t begin = text.size();
  text.resize(begin + sodium_base64_ENCODED_LEN(bytes.size(), kBase64));
  sodium_bin2base64(text.data() + begin, text.size() - begin, bytes.data(), bytes.size(), kBase64);
  text.pop_back();  // the terminating zero
  return text;
}

// Empty when it is not base64 in its one spelling.
std::vector<std::uint8_t> FromBase64(std::string_view text) {
  if (text.size() < 4) return {};
  std::vector<std::uint8_t> bytes(text.size() / 4 * 3);
  std::size_t size_bytes = 0;
  const char* end = nullptr;
  if (sodium_base642bin(bytes.data(), bytes.size(), text.data(), text.size(), nullptr, &size_bytes,
                        &end, kBase64) != 0 ||
      end != text.data() + text.size()) {
    return {};
  }
  bytes.resize(size_bytes);
  return bytes;
}

std::unexpected<Error> DoesNotOpen() {
  return Fail(Code::kInvalid,
              "a sealed value does not open here: it is damaged, or was sealed for another "
              "component, project, configuration or branch type");
}

Result<crypto::SecretBytes> OpenText(const crypto::Keyring& keys, const ValueContext& context,
                                     ValueScope scope, std::span<const std::uint8_t> bytes) {
  const Result<crypto::SealedValue> value = crypto::SealedValue::Parse(bytes);
  if (!value || value->Scope() != static_cast<std::uint8_t>(scope)) return DoesNotOpen();
  const std::optional<Bound> bound = BoundTo(scope, context);
  if (!bound) return DoesNotOpen();
  Result<crypto::SecretBytes> opened = keys.OpenValue(bound->owner, bound->names, *value);
  if (!opened) return DoesNotOpen();
  return opened;
}

// Whose row a sealed copy may be of, in this scope and context; nothing: it is another's.
std::optional<crypto::Owner> OwnerOfCopy(const crypto::Keyring& keys, const ValueContext& context,
                                         ValueScope scope, const crypto::SealedPart& copy) {
  const crypto::RowKey key = copy.Key();
  if (scope == ValueScope::kProject) {
    const auto pair = keys.PrefixOf(static_cast<std::uint8_t>(storage::Credentials::kTable),
                                    context.project.Str(), context.component.Str());
    if (copy.GetPart() != crypto::Part::kMeta &&
        std::equal(pair.begin(), pair.end(), key.bytes.begin())) {
      return crypto::Owner::Project(context.project.Str());
    }
  }
  if (scope == ValueScope::kComponent && copy.GetPart() == crypto::Part::kAppSecret &&
      key == keys.KeyOf(static_cast<std::uint8_t>(storage::Component::kTable),
                        storage::Component::Names(context.component))) {
    return crypto::Owner::Vault();
  }
  return std::nullopt;
}

Result<crypto::SecretBytes> OpenCopy(const crypto::Keyring& keys, const ValueContext& context,
                                     ValueScope scope, std::span<const std::uint8_t> bytes) {
  const Result<crypto::SealedPart> copy = crypto::SealedPart::Parse(bytes);
  if (!copy) return DoesNotOpen();
  const std::optional<crypto::Owner> owner = OwnerOfCopy(keys, context, scope, *copy);
  if (!owner) return DoesNotOpen();
  const Result<crypto::SecretBytes> opened = keys.OpenPartOf(*owner, *copy);
  if (!opened) return DoesNotOpen();
  return opened->Expose([](std::span<const std::uint8_t> secret) {
    return WriteCounted([secret](JsonText& out) { out.String(secret); });
  });
}

}  // namespace

Result<BranchType> ParseBranchType(std::string_view word) {
  for (const BranchType type : {BranchType::kDefault, BranchType::kDev}) {
    if (word == WordOf(type)) return type;
  }
  return Fail(Code::kInvalid, "a branch type is default or dev");
}

bool IsSealedValue(std::string_view text) { return ParsePrefix(text).by != Sealer::kNobody; }

std::size_t SealedTextSize(ValueScope scope, std::size_t plain_size_bytes) {
  const std::size_t bytes = crypto::kValueOverhead + plain_size_bytes;
  return kStart.size() + NameOf(scope).size() + kOurMark.size() + (bytes + 2) / 3 * 4;
}

Result<std::string> SealValue(const crypto::Keyring& keys, ValueScope scope,
                              const ValueContext& context,
                              const crypto::SecretBytes& json_scalar) {
  const std::optional<Bound> bound = BoundTo(scope, context);
  if (!bound) {
    return Fail(Code::kInvalid, "the scope of a sealed value asks for a name that is not given");
  }
  const Result<crypto::SealedValue> value = keys.SealValue(
      bound->owner, static_cast<std::uint8_t>(scope), bound->names, json_scalar);
  if (!value) return std::unexpected(value.error());
  return WithPrefix(scope, value->Bytes());
}

Result<crypto::SecretBytes> OpenValue(const crypto::Keyring& keys, const ValueContext& context,
                                      std::string_view sealed) {
  const Parsed parsed = ParsePrefix(sealed);
  if (parsed.by == Sealer::kAnother) {
    return Fail(Code::kInvalid, "a sealed value is of another vault: this one opens only what it "
                                "sealed itself");
  }
  if (parsed.by == Sealer::kNobody) return DoesNotOpen();
  const std::vector<std::uint8_t> bytes = FromBase64(parsed.base64);
  if (bytes.empty()) return DoesNotOpen();
  if (bytes.front() == crypto::kSealedPartFormat) {
    return OpenCopy(keys, context, parsed.scope, bytes);
  }
  return OpenText(keys, context, parsed.scope, bytes);
}

Result<std::string> SealedCopyOf(const storage::Stored<storage::Credentials>& stored,
                                 crypto::Part part) {
  const auto copy = crypto::SealedPart::Of(stored.key, stored.sealed, part);
  if (!copy) return std::unexpected(copy.error());
  return WithPrefix(ValueScope::kProject, copy->Bytes());
}

Result<std::string> SealedCopyOf(const storage::Stored<storage::Component>& stored) {
  const auto copy =
      crypto::SealedPart::Of(stored.key, stored.sealed, crypto::Part::kAppSecret);
  if (!copy) return std::unexpected(copy.error());
  return WithPrefix(ValueScope::kComponent, copy->Bytes());
}

}  // namespace oauthvault::custody
