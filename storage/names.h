#pragma once

#include <compare>
#include <cstddef>
#include <string>
#include <string_view>
#include <utility>

#include "crypto/error.h"

namespace oauthvault {

/// Ids have 1 to 128 characters.
inline constexpr std::size_t kMaxIdSize = 128;

/// `[A-Za-z0-9._-]{1,128}`, not `.` or `..`.
bool IsValidId(std::string_view text);

/// An id of one kind; the kinds do not mix. Holding one means that it was checked.
template <class Tag>
class Id {
 public:
  static constexpr bool kPublicName = true;

  /// Errors: Invalid when `text` is no id; the subject is the kind's name, never the text.
  static Result<Id> Parse(std::string_view text) {
    if (!IsValidId(text)) {
      return Fail(Code::kInvalid,
                  "an id has 1 to 128 characters of A-Z a-z 0-9 . _ - and is not . or ..",
                  Subject::Key(Tag::kName));
    }
    return Id(std::string(text));
  }

  const std::string& Str() const { return text_; }
  auto operator<=>(const Id&) const = default;

 private:
  explicit Id(std::string text) : text_(std::move(text)) {}
  std::string text_;
};

struct ProjectTag {
  static constexpr const char* kName = "project";
};
struct ComponentTag {
  static constexpr const char* kName = "component";
};
struct ConfigurationTag {
  static constexpr const char* kName = "configuration";
};
struct OauthTag {
  static constexpr const char* kName = "oauth id";
};
struct AccountTag {
  static constexpr const char* kName = "account";
};
struct AttemptTag {
  static constexpr const char* kName = "attempt";
};
struct TokenTag {
  static constexpr const char* kName = "token";
};

using ProjectId = Id<ProjectTag>;      ///< a tenant
using ComponentId = Id<ComponentTag>;  ///< a registered extension (`keboola.ex-google-drive`)
using ConfigurationId = Id<ConfigurationTag>;  ///< of a component, in files of somebody else
using OauthId = Id<OauthTag>;          ///< names credentials within (project, component)
using AccountId = Id<AccountTag>;      ///< a Rivery account of the vault
using AttemptId = Id<AttemptTag>;      ///< one run of the Rivery flow
using TokenId = Id<TokenTag>;          ///< names an opaque token, and says nothing about its text

}  // namespace oauthvault
