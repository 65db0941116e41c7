#pragma once

namespace oauthvault::crypto {

/// How often the room has stretched a passphrase in this process; the linker counts its calls.
extern int stretchings;

}  // namespace oauthvault::crypto
