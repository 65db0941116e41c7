// A daemon's answer to Reveal, read off the wire by the client, and the eight keys that it writes
// as JSON: what another reader of JSON finds in them is what was read.

#include <google/protobuf/io/zero_copy_stream_impl_lite.h>

#include <cstdint>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <span>
#include <string>

#include "client/input.h"
#include "client/revealed.h"
#include "oauthvault/v1/credentials.pb.h"
#include "tests/fuzz/input.h"

namespace oauthvault::client {
namespace {

using fuzz::TextOf;
using nlohmann::json;

void Check(bool holds) {
  if (!holds) std::abort();
}

bool IsText(const std::string& text) {
  return IsUtf8({reinterpret_cast<const std::uint8_t*>(text.data()), text.size()});
}

void OneInput(std::span<const std::uint8_t> bytes) {
  google::protobuf::io::ArrayInputStream stream(bytes.data(), static_cast<int>(bytes.size()), 7);
  const auto revealed = ReadRevealed(stream);
  v1::RevealResponse message;
  const bool parsed = message.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()));
  if (!revealed) return;
  const std::string data = TextOf(revealed->data.Bytes());
  const std::string app_secret = TextOf(revealed->app_secret.Bytes());
  // The generated message refuses text that is no UTF-8; it is not asked for more than that.
  if (parsed) {
    Check(message.data() == data && message.app_secret() == app_secret);
    Check(message.id() == revealed->id && message.version() == revealed->version);
    Check(message.creator().description() == revealed->creator_description);
  }
  for (const std::string* text :
       {&revealed->id, &revealed->authorized_for, &revealed->creator_id,
        &revealed->creator_description, &revealed->created, &revealed->oauth_version,
        &revealed->app_key, &data, &app_secret}) {
    if (!IsText(*text)) return;
  }
  const json keys = json::parse(TextOf(RevealedAsJson(*revealed)), nullptr, false);
  Check(keys.is_object() && keys.size() == 8);
  Check(keys["id"] == revealed->id && keys["authorizedFor"] == revealed->authorized_for);
  Check(keys["creator"]["id"] == revealed->creator_id);
  Check(keys["creator"]["description"] == revealed->creator_description);
  Check(keys["created"] == revealed->created && keys["oauthVersion"] == revealed->oauth_version);
  Check(keys["appKey"] == revealed->app_key);
  Check(keys["#data"] == data && keys["#appSecret"] == app_secret);
}

}  // namespace
}  // namespace oauthvault::client

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  oauthvault::client::OneInput({data, size});
  return 0;
}
