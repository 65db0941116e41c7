#pragma once

#include <optional>

#include "crypto/error.h"
#include "crypto/keyring.h"
#include "crypto/secret.h"
#include "daemon/access/decide.h"
#include "daemon/custody/sealed_value.h"
#include "storage/names.h"
#include "storage/tables/store.h"

namespace oauthvault::custody {

/// What values are sealed for, beside the pair of the permit.
struct SealFor {
  ValueScope scope = ValueScope::kProject;
  std::optional<ConfigurationId> configuration;  ///< with kConfiguration, and only then
  std::optional<BranchType> branch_type;         ///< with kBranchType, and only then
};

/// The scope that a caller means who names none: configuration or branch type where one is given,
/// else the project. Errors: Invalid when both are given.
Result<ValueScope> ScopeFor(const std::optional<ConfigurationId>& configuration,
                            const std::optional<BranchType>& branch_type);

/// Encrypt: a JSON document in, the same with every scalar under a `#` key sealed out
/// (SEALED_VALUES.md). Objects and lists are walked into, lists under a `#` key are sealed element
/// by element. A string that is a sealed value already, or exactly `{{ name }}`, stays.
/// `permit` is for encrypt on the pair. The component gets its key when a value is sealed for it
/// alone for the first time. Threads: any; one that may wait for the disk.
/// Errors: Invalid (the document, also when the sealed one is larger than kMaxDocumentSize; a name
/// that the scope does not take, or lacks), NotFound (project or component are not registered),
/// Denied (a permit for another right), Corrupt, Unavailable, Exhausted.
Result<crypto::SecretBytes> EncryptDocument(const access::Permit& permit, const SealFor& to,
                                            const crypto::SecretBytes& json,
                                            crypto::Keyring& keys, const storage::Store& store);

/// The same for a text as a whole, which opens as a JSON string. `text`: valid UTF-8 of at most
/// kMaxDocumentSize bytes whose sealed form has no more either.
Result<crypto::SecretBytes> EncryptText(const access::Permit& permit, const SealFor& to,
                                        const crypto::SecretBytes& text, crypto::Keyring& keys,
                                        const storage::Store& store);

}  // namespace oauthvault::custody
