// A component's configuration from outside: parsed, opened, written. What is written is a document
// again and stays as it is; what is sealed as a document opens to the same.

#include <cstdint>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <string_view>

#include "daemon/custody/configuration.h"
#include "daemon/custody/document.h"
#include "tests/fuzz/input.h"

namespace oauthvault::custody {
namespace {

using fuzz::TextOf;

void Check(bool holds) {
  if (!holds) std::abort();
}

std::string Written(std::string_view text, IdBeside id_beside) {
  auto configuration = Configuration::Parse(crypto::SecretBytes::CopyOf(text));
  Check(configuration.has_value());
  return TextOf(configuration->Write(id_beside));
}

void OneInput(std::span<const std::uint8_t> bytes) {
  auto any = Document::Parse(crypto::SecretBytes::CopyOf(bytes), Rules::kAny);
  if (any) Check(nlohmann::json::accept(TextOf(any->text)));
  auto configuration = Configuration::Parse(crypto::SecretBytes::CopyOf(bytes));
  if (!configuration) return;
  Check(any.has_value());
  const std::string kept = TextOf(configuration->Write(IdBeside::kKeep));
  Check(nlohmann::json::accept(kept));
  Check(Written(kept, IdBeside::kKeep) == kept);
  const std::string dropped = TextOf(configuration->Write(IdBeside::kDrop));
  Check(nlohmann::json::accept(dropped));
  Check(Written(dropped, IdBeside::kDrop) == dropped);

  std::size_t opened = 0;
  Check(configuration
            ->Open([&](std::string_view) {
              ++opened;
              return Result<crypto::SecretBytes>(crypto::SecretBytes::CopyOf("\"opened\""));
            })
            .has_value());
  Check(opened == configuration->SealedCount());
  Check(nlohmann::json::accept(TextOf(configuration->Write(IdBeside::kDrop))));
  if (configuration->GetPlan() != Configuration::Plan::kLookUp) return;
  EightKeys keys;
  keys.id = configuration->Id()->Str();
  keys.data = crypto::CredentialsData(crypto::SecretBytes::CopyOf("{\"t\":\"\\u0000\n\"}"));
  for (const IdBeside id_beside : {IdBeside::kKeep, IdBeside::kDrop}) {
    Check(nlohmann::json::accept(TextOf(configuration->WriteWith(keys, id_beside))));
  }
}

}  // namespace
}  // namespace oauthvault::custody

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  oauthvault::custody::OneInput({data, size});
  return 0;
}
