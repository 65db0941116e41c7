// A request at the HTTP interface: the first line is the method and the path with its query, the
// rest is the body. Matched and read as the edge does; ids that come out are ids, and an object's
// bytes are those that came.

#include <array>
#include <cstdint>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <string_view>

#include "daemon/http/body.h"
#include "daemon/http/routes.h"
#include "storage/names.h"
#include "tests/fuzz/input.h"

namespace oauthvault::http {
namespace {

using fuzz::TextOf;

constexpr std::array<std::string_view, 7> kKnown = {"id",     "authorizedFor", "data",      "#data",
                                                    "appKey", "appSecret",     "#appSecret"};

void Check(bool holds) {
  if (!holds) std::abort();
}

void CheckRoute(std::string_view line) {
  Request request;
  const std::size_t space = line.find(' ');
  request.method = line.substr(0, space);
  if (space != std::string_view::npos) request.path = line.substr(space + 1);
  const auto matched = Match(request);
  if (!matched || matched->route == nullptr) return;
  Check(matched->route->method == request.method);
  Check(matched->component.empty() || IsValidId(matched->component));
  Check(matched->id.empty() || IsValidId(matched->id));
}

void Read(std::string_view text) {
  auto body = Body::Parse(crypto::SecretBytes::CopyOf(text), kKnown);
  if (!body) return;
  Check(nlohmann::json::accept(text));
  for (const std::string_view name : kKnown) {
    if (!body->Has(name)) continue;
    if (auto raw = body->TakeRaw(name); raw && *raw) {
      const std::string kept = TextOf(**raw);
      Check(text.find(kept) != std::string_view::npos);
      Check(nlohmann::json::accept(kept));
    } else {
      (void)body->TakeSecret(name);
    }
  }
}

}  // namespace
}  // namespace oauthvault::http

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text = oauthvault::fuzz::AsText({data, size});
  const std::size_t end = text.find('\n');
  oauthvault::http::CheckRoute(text.substr(0, end));
  for (const bool plus : {false, true}) (void)oauthvault::http::Decode(text.substr(0, end), plus);
  if (end != std::string_view::npos) oauthvault::http::Read(text.substr(end + 1));
  return 0;
}
