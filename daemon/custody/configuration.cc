#include "daemon/custody/configuration.h"

#include <cstdlib>
#include <span>
#include <utility>

#include "daemon/custody/sealed_value.h"

namespace oauthvault::custody {
namespace {

/// A string without its quotes; what is no string is no sealed value either.
std::string_view WithoutQuotes(std::string_view text, Range range) {
  return text.substr(range.begin + 1, range.end - range.begin - 2);
}

}  // namespace

Result<Configuration> Configuration::Parse(const crypto::SecretBytes& document) {
  Result<Document> read = Document::Parse(document, Rules::kConfiguration);
  if (!read) return Fail(std::move(read));
  Configuration configuration;
  configuration.document_ = std::move(*read);
  Document& parsed = configuration.document_;
  // Rules 2, 3 and 4; rule 1 is what the reader writes, and leads to the fourth.
  if (parsed.credentials) {
    configuration.plan_ = Plan::kBypass;
  } else if (parsed.id) {
    if (!*parsed.id) return Fail(std::move(*parsed.id));
    configuration.plan_ = Plan::kLookUp;
    configuration.id_ = std::move(**parsed.id);
  }
  parsed.text.Expose([&](std::span<const std::uint8_t> bytes) {
    const std::string_view text = AsText(bytes);
    for (const Range& value : parsed.hash_values) {
      if (text[value.begin] == '"' && IsSealedValue(WithoutQuotes(text, value))) {
        configuration.sealed_.push_back(value);
      }
    }
  });
  return configuration;
}

Result<void> Configuration::Open(const Opener& open) {
  return document_.text.Expose([&](std::span<const std::uint8_t> bytes) -> Result<void> {
    const std::string_view text = AsText(bytes);
    std::vector<Replacement> opened;
    for (const Range& value : sealed_) {
      Result<crypto::SecretBytes> json = open(WithoutQuotes(text, value));
      if (!json) return Fail(std::move(json));
      opened.push_back({value, std::move(*json)});
    }
    opened_ = std::move(opened);
    return {};
  });
}

crypto::SecretBytes Configuration::Write(IdBeside id_beside) const {
  return Write(id_beside, nullptr);
}

crypto::SecretBytes Configuration::WriteWith(const EightKeys& keys, IdBeside id_beside) const {
  // Without an id to look up there is no place for credentials, or others stand in it.
  if (plan_ != Plan::kLookUp) std::abort();
  return Write(id_beside, &keys);
}

crypto::SecretBytes Configuration::Write(IdBeside id_beside, const EightKeys* keys) const {
  return document_.text.Expose([&](std::span<const std::uint8_t> bytes) {
    const std::string_view text = AsText(bytes);
    const bool drop = id_beside == IdBeside::kDrop && (keys != nullptr || document_.credentials);
    return WriteCounted([&](JsonText& out) {
      if (keys == nullptr && !drop) {
        return WriteReplaced(out, text, {0, text.size()}, opened_);
      }
      // `oauth_api` has no members but `id`, `version` and `credentials`.
      const Range members = document_.oauth_api;
      WriteReplaced(out, text, {0, drop ? members.begin : members.end}, opened_);
      if (keys != nullptr) {
        out.Raw(drop ? R"("credentials":)" : R"(,"credentials":)");
        WriteEightKeys(out, *keys);
      } else {
        WriteReplaced(out, text, *document_.credentials, opened_);
      }
      WriteReplaced(out, text, {members.end, text.size()}, opened_);
    });
  });
}

}  // namespace oauthvault::custody
