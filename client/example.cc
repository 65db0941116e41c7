#include <iostream>

#include "client/vault.h"

using oauthvault::client::Vault;

int main(int argc, char** argv) {
  if (argc != 4) return 1;  // PROJECT COMPONENT ID
  auto vault = Vault::Connect({.address = "localhost:8443", .identity = "my-identity"});
  if (!vault) return std::cerr << vault.error().message << '\n', 1;
  auto revealed = vault->Reveal({.project = argv[1], .component = argv[2], .id = argv[3]});
  if (!revealed) return std::cerr << revealed.error().message << '\n', 1;
  return revealed->data.Bytes().Expose([](auto bytes) { return bytes.empty() ? 1 : 0; });
}  // what was revealed is wiped here
