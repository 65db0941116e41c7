#include "daemon/custody/encrypt.h"

#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "daemon/custody/document.h"
#include "daemon/custody/json_text.h"
#include "daemon/registry/projects.h"
#include "storage/utf8.h"

namespace oauthvault::custody {
namespace {

/// Exactly `{{ name }}`: a variable, which is replaced elsewhere.
bool IsVariable(std::string_view text) {
  constexpr std::string_view kOpening = "{{ ";
  constexpr std::string_view kClosing = " }}";
  if (text.size() < kOpening.size() + kClosing.size() || !text.starts_with(kOpening) ||
      !text.ends_with(kClosing)) {
    return false;
  }
  text.remove_prefix(kOpening.size());
  text.remove_suffix(kClosing.size());
  return IsValidId(text);
}

bool StaysAsItIs(std::string_view text) { return IsSealedValue(text) || IsVariable(text); }

std::unexpected<Error> TooLarge() {
  return Fail(Code::kInvalid, "what is sealed would be larger than this many bytes",
              Subject::Number(kMaxDocumentSize));
}

/// Checks what a caller wants against its permit, and gives the context to seal in.
Result<ValueContext> Prepare(const access::Permit& permit, const SealFor& to,
                             crypto::Keyring& keys, const storage::Store& store) {
  if (permit.What() != access::Right::kEncrypt) {
    return Fail(Code::kDenied, "values are sealed for those who may encrypt");
  }
  if (to.configuration.has_value() != (to.scope == ValueScope::kConfiguration)) {
    return Fail(Code::kInvalid, "the configuration scope, and no other, takes a configuration");
  }
  if (to.branch_type.has_value() != (to.scope == ValueScope::kBranchType)) {
    return Fail(Code::kInvalid, "the branch type scope, and no other, takes a branch type");
  }
  auto pair = permit.Where().AsPair();
  if (!pair) return Fail(std::move(pair));
  if (auto open = registry::ExpectOpenProject(pair->project, store); !open) {
    return Fail(std::move(open));
  }
  auto registered = store.Get<storage::Component>(storage::Component::Names(pair->component));
  if (!registered) return Fail(std::move(registered));
  if (to.scope == ValueScope::kComponent) {
    if (auto made = keys.EnsureKek(crypto::Owner::Component(pair->component.Str())); !made) {
      return Fail(std::move(made));
    }
  }
  return ValueContext{std::move(pair->project), std::move(pair->component), to.configuration,
                      to.branch_type};
}

}  // namespace

Result<ValueScope> ScopeFor(const std::optional<ConfigurationId>& configuration,
                            const std::optional<BranchType>& branch_type) {
  if (configuration && branch_type) {
    return Fail(Code::kInvalid, "a value is sealed for a configuration or a branch type, not both");
  }
  if (configuration) return ValueScope::kConfiguration;
  return branch_type ? ValueScope::kBranchType : ValueScope::kProject;
}

Result<crypto::SecretBytes> EncryptDocument(const access::Permit& permit, const SealFor& to,
                                            const crypto::SecretBytes& json,
                                            crypto::Keyring& keys, const storage::Store& store) {
  const Result<Document> document = Document::Parse(json, Rules::kAny);
  if (!document) return std::unexpected(document.error());
  const Result<ValueContext> context = Prepare(permit, to, keys, store);
  if (!context) return std::unexpected(context.error());

  return document->text.Expose(
      [&](std::span<const std::uint8_t> bytes) -> Result<crypto::SecretBytes> {
        const std::string_view text = AsText(bytes);
        std::vector<Range> plain;
        std::size_t size = text.size();
        for (const Range& value : document->hash_values) {
          const std::size_t value_size = value.end - value.begin;
          if (text[value.begin] == '"' &&
              StaysAsItIs(text.substr(value.begin + 1, value_size - 2))) {
            continue;
          }
          plain.push_back(value);
          size += SealedTextSize(to.scope, value_size) + 2 - value_size;
        }
        // Before anything is sealed: many small values grow a hundredfold.
        if (size > kMaxDocumentSize) return TooLarge();
        std::vector<Replacement> sealed;
        for (const Range& value : plain) {
          const auto scalar = crypto::SecretBytes::CopyOf(
              text.substr(value.begin, value.end - value.begin));
          const Result<std::string> one = SealValue(keys, to.scope, *context, scalar);
          if (!one) return std::unexpected(one.error());
          sealed.push_back({value, crypto::SecretBytes::CopyOf('"' + *one + '"')});
        }
        return WriteCounted([&](JsonText& out) {
          WriteReplaced(out, text, {0, text.size()}, sealed);
        });
      });
}

Result<crypto::SecretBytes> EncryptText(const access::Permit& permit, const SealFor& to,
                                        const crypto::SecretBytes& text, crypto::Keyring& keys,
                                        const storage::Store& store) {
  if (text.Size() > kMaxDocumentSize || !IsValidUtf8(text)) {
    return Fail(Code::kInvalid, "a text to seal is valid UTF-8 of at most 240 KiB");
  }
  const Result<ValueContext> context = Prepare(permit, to, keys, store);
  if (!context) return std::unexpected(context.error());
  return text.Expose([&](std::span<const std::uint8_t> bytes) -> Result<crypto::SecretBytes> {
    if (StaysAsItIs(AsText(bytes))) return text.Clone();
    const auto scalar = WriteCounted([&](JsonText& out) { out.String(bytes); });
    if (SealedTextSize(to.scope, scalar.Size()) > kMaxDocumentSize) return TooLarge();
    const Result<std::string> sealed = SealValue(keys, to.scope, *context, scalar);
    if (!sealed) return std::unexpected(sealed.error());
    return crypto::SecretBytes::CopyOf(*sealed);
  });
}

}  // namespace oauthvault::custody
