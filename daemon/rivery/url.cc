#include "daemon/rivery/url.h"

#include <arpa/inet.h>
#include <curl/curl.h>
#include <netinet/in.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <optional>

#include "daemon/rivery/address.h"

namespace oauthvault::rivery {
namespace {

constexpr std::size_t kMaxBaseUrlBytes = 512;
constexpr std::size_t kMaxUrlBytes = 4096;

struct FreeUrl {
  void operator()(CURLU* url) const { curl_url_cleanup(url); }
};
using Url = std::unique_ptr<CURLU, FreeUrl>;

/// Printable ASCII without what different parsers read differently.
bool IsPlain(std::string_view text) {
  return std::ranges::all_of(text, [](char c) {
    return c > 0x20 && c < 0x7f && c != '\\' && c != '<' && c != '>' && c != '"';
  });
}

Url Parse(const std::string& text) {
  Url url(curl_url());
  if (url == nullptr) return nullptr;
  if (curl_url_set(url.get(), CURLUPART_URL, text.c_str(), CURLU_DISALLOW_USER) != CURLUE_OK) {
    return nullptr;
  }
  return url;
}

/// A part of the URL; empty when it has none.
std::string PartOf(CURLU* url, CURLUPart part, unsigned flags = 0) {
  char* text = nullptr;
  if (curl_url_get(url, part, &text, flags) != CURLUE_OK || text == nullptr) return {};
  std::string copy(text);
  curl_free(text);
  return copy;
}

std::string Lower(std::string text) {
  for (char& c : text) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return text;
}

/// The kind of a host that is an address, or a name that always means loopback.
std::optional<AddressKind> KindOfHost(const std::string& host) {
  sockaddr_in v4{};
  v4.sin_family = AF_INET;
  if (inet_pton(AF_INET, host.c_str(), &v4.sin_addr) == 1) {
    return KindOf(reinterpret_cast<const sockaddr*>(&v4), sizeof v4);
  }
  if (host.starts_with('[') && host.ends_with(']')) {
    sockaddr_in6 v6{};
    v6.sin6_family = AF_INET6;
    if (inet_pton(AF_INET6, host.substr(1, host.size() - 2).c_str(), &v6.sin6_addr) != 1) {
      return AddressKind::kNever;
    }
    return KindOf(reinterpret_cast<const sockaddr*>(&v6), sizeof v6);
  }
  if (host == "localhost") return AddressKind::kLoopback;
  return std::nullopt;
}

}  // namespace

Result<std::string> NormalizeBaseUrl(std::string_view url, const Reach& reach) {
  if (url.empty() || url.size() > kMaxBaseUrlBytes) {
    return Fail(Code::kInvalid, "the base URL of Rivery must have 1 to 512 bytes");
  }
  if (!IsPlain(url) || url.find_first_of("?#@%") != std::string_view::npos) {
    return Fail(Code::kInvalid,
                "the base URL of Rivery may hold no user, query, fragment, blank or escape");
  }
  // Without a scheme libcurl would guess one, and with a third slash take the path for the host.
  if (!url.contains("://") || url.contains(":///")) {
    return Fail(Code::kInvalid, "the base URL of Rivery must begin with https://");
  }
  const Url parsed = Parse(std::string(url));
  if (parsed == nullptr) return Fail(Code::kInvalid, "the base URL of Rivery is not a URL");

  const std::string scheme = Lower(PartOf(parsed.get(), CURLUPART_SCHEME));
  const std::string host = Lower(PartOf(parsed.get(), CURLUPART_HOST));
  const std::string port = PartOf(parsed.get(), CURLUPART_PORT, CURLU_NO_DEFAULT_PORT);
  std::string path = PartOf(parsed.get(), CURLUPART_PATH);
  const std::optional<AddressKind> kind = KindOfHost(host);
  if (host.empty()) return Fail(Code::kInvalid, "the base URL of Rivery has no host");
  const bool plain = scheme == "http";
  if (!plain && scheme != "https") {
    return Fail(Code::kInvalid, "the base URL of Rivery is of another scheme than https");
  }
  if (plain && (kind != AddressKind::kLoopback || !reach.allow_loopback)) {
    return Fail(Code::kInvalid,
                "plain http to Rivery is for loopback with rivery.allow_loopback only; use https");
  }
  if (kind && !MayConnect(*kind, reach, plain)) {
    return Fail(Code::kInvalid,
                "the base URL of Rivery names an address inside this network; "
                "rivery.allow_loopback or rivery.allow_private would permit it");
  }
  while (path.ends_with('/')) path.pop_back();
  if (path.contains("//")) {
    return Fail(Code::kInvalid, "the path of the base URL of Rivery has an empty segment");
  }
  return scheme + "://" + host + (port.empty() ? "" : ":" + port) + path;
}

Result<std::string> ResolveOnOrigin(const std::string& url, std::string_view reference) {
  if (reference.empty() || reference.size() > kMaxUrlBytes || !IsPlain(reference)) {
    return Fail(Code::kInvalid, "Rivery names a next address that is not a URL");
  }
  const Url from = Parse(url);
  const Url to = Parse(url);
  if (from == nullptr || to == nullptr ||
      curl_url_set(to.get(), CURLUPART_URL, std::string(reference).c_str(), CURLU_DISALLOW_USER) !=
          CURLUE_OK) {
    return Fail(Code::kInvalid, "Rivery names a next address that cannot be resolved");
  }
  const auto same = [&](CURLUPart part, unsigned flags) {
    return Lower(PartOf(from.get(), part, flags)) == Lower(PartOf(to.get(), part, flags));
  };
  if (!same(CURLUPART_SCHEME, 0) || !same(CURLUPART_HOST, 0) ||
      !same(CURLUPART_PORT, CURLU_DEFAULT_PORT)) {
    return Fail(Code::kInvalid,
                "Rivery points to another origin, where the API token must not go; "
                "check the base URL and its region");
  }
  curl_url_set(to.get(), CURLUPART_FRAGMENT, nullptr, 0);
  std::string resolved = PartOf(to.get(), CURLUPART_URL);
  if (resolved.empty() || resolved.size() > kMaxUrlBytes) {
    return Fail(Code::kInvalid, "Rivery names a next address that is too long");
  }
  return resolved;
}

}  // namespace oauthvault::rivery
