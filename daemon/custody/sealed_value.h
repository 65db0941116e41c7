#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "crypto/error.h"
#include "crypto/keyring.h"
#include "crypto/secret.h"
#include "storage/names.h"
#include "storage/tables/rows.h"
#include "storage/tables/store.h"

namespace oauthvault::custody {

/// What a sealed value is bound to, from its prefix and its second byte (SEALED_VALUES.md). The
/// numbers are stored in files of somebody else and stay.
enum class ValueScope : std::uint8_t {
  kComponent = 1,      ///< the component, in every project
  kProject = 2,        ///< component and project; the default
  kConfiguration = 3,  ///< and the configuration
  kProjectWide = 4,    ///< the project, for all of its components
  kBranchType = 5,     ///< component, project and the type of branch
};

/// Where a configuration is used: in the project itself, or in a branch of it.
enum class BranchType : std::uint8_t { kDefault, kDev };

/// The words `default` and `dev`. Errors: Invalid for any other.
Result<BranchType> ParseBranchType(std::string_view word);

/// Where a value is sealed for, or opened.
struct ValueContext {
  ProjectId project;
  ComponentId component;
  std::optional<ConfigurationId> configuration;  ///< absent: values of a configuration do not open
  std::optional<BranchType> branch_type;         ///< absent: values of a branch type do not open
};

/// Whether a text begins as a sealed value: of this vault, of another cloud's, or of a legacy form.
bool IsSealedValue(std::string_view text);

/// The size of the text that `SealValue` makes of so many bytes.
std::size_t SealedTextSize(ValueScope scope, std::size_t plain_size_bytes);

/// Seals the JSON text of one scalar (RFC 8259) and gives `KBC::..` with base64, in ASCII without
/// quotes and backslashes. Errors: Invalid when the context lacks a name of the scope, or the text
/// is larger than crypto::kMaxValueSize; NotFound when the scope's owner has no key.
Result<std::string> SealValue(const crypto::Keyring& keys, ValueScope scope,
                              const ValueContext& context, const crypto::SecretBytes& json_scalar);

/// Opens a sealed value, or a sealed copy of a stored secret, and gives the JSON text that takes
/// its place. A wider scope opens in a narrower context, not the other way round. Errors: Invalid,
/// one and the same whatever is wrong with the value (damaged, foreign, wrongly scoped, its key
/// gone); another one for the prefixes of other vaults. Neither holds anything of the value.
Result<crypto::SecretBytes> OpenValue(const crypto::Keyring& keys, const ValueContext& context,
                                      std::string_view sealed);

/// A secret part of stored credentials as text that may leave: nothing is opened. It opens, by
/// `OpenValue`, for the project and component of the credentials. Errors: NotFound when the row has
/// no such part.
Result<std::string> SealedCopyOf(const storage::Stored<storage::Credentials>& stored,
                                 crypto::Part part);
/// The same for a component's app secret; it opens for that component.
Result<std::string> SealedCopyOf(const storage::Stored<storage::Component>& stored);

}  // namespace oauthvault::custody
