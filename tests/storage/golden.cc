// Writes the golden files of the store's format into a folder: for a new format, which gets a new
// number and new files. Those of earlier formats stay.
//
//   storage_golden FOLDER

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <string>

#include "crypto/secret.h"
#include "crypto/slots.h"
#include "tests/crypto/hex.h"
#include "tests/storage/golden_store.h"
#include "tests/storage/kept_store.h"

namespace oauthvault::storage {
namespace {

template <class Row>
std::string MetaOf(const Row& row) {
  FieldWriter fields;
  row.Encode(fields);
  return crypto::ToHex(std::move(fields).TakeBytes());
}

void WriteRows(const std::filesystem::path& path) {
  std::ofstream file(path);
  file << "# The meta parts of format 1 (FORMAT.md, \"Tables\"), one of each table with every "
          "field set, in hex.\n";
  const auto write = [&](const auto& row) {
    file << "\ntable = " << static_cast<int>(row.kTable) << "\nmeta = " << MetaOf(row) << "\n";
  };
  write(FullProject());
  write(FullComponent());
  write(FullGrant());
  write(FullIdentity());
  write(FullCredentials());
  write(FullAccount());
  write(FullAttempt());
  write(FullConnection());
  write(FullAuthority());
  write(FullAnchor());
  write(FullSummary());
  write(FullBackup());
  write(FullRewrapping());
  write(FullToken());
  write(FullCredentialsVersion());
  write(FullTrustAnchor());
  write(FullRevokedKey());
  file << "\ntable = act\nmeta = " << crypto::ToHex(EncodeAct(GoldenAct())) << "\n";
}

// Each row in a commit of its own; then a restore, a rewrap, and a last commit.
bool WriteStore(const std::filesystem::path& folder) {
  KeptStore kept;
  const crypto::Owner owner = crypto::Owner::Project(FullProject().id.Str());
  bool went_well = kept.Keys().EnsureKek(owner).has_value();
  ForEachGoldenRow([&](const auto& row) {
    went_well = went_well && kept.Put(row, {crypto::SecretBytes::CopyOf(GoldenData(row.kTable)),
                                            crypto::SecretBytes::CopyOf(
                                                std::string(kGoldenAppSecret))});
  });
  kept.Close();
  kept.Open(Ledger::Restart{.epoch = 3, .previous = {2, 20}});
  went_well = went_well && kept.Put(FullBackup()) && kept.Keys().RotateKek(owner) &&
              kept.Rows().Rewrap(owner, "", 100, Act{.act = "golden.rewrap"});
  Batch last(GoldenAct());
  last.Replace(FullBackup(), 2,
               {crypto::SecretBytes::CopyOf(GoldenData(TableId::kBackups)),
                crypto::SecretBytes::CopyOf(std::string(kGoldenAppSecret))});
  went_well = went_well && kept.Rows().Commit(std::move(last));
  std::filesystem::create_directory(folder / "store");
  return went_well && kept.GetEngine().CopyTo(folder / "store") &&
         kept.Keys().CopyTo(folder / "keys") &&
         crypto::WriteKeyFile(folder / "key", kept.Secret());
}

}  // namespace
}  // namespace oauthvault::storage

int main(int count, char** arguments) {
  if (count != 2 || !oauthvault::crypto::Prepare()) {
    std::fputs("storage_golden FOLDER\n", stderr);
    return 2;
  }
  const std::filesystem::path folder(arguments[1]);
  oauthvault::storage::WriteRows(folder / "rows.txt");
  return oauthvault::storage::WriteStore(folder) ? 0 : 1;
}
