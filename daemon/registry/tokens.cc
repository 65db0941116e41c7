#include "daemon/registry/tokens.h"

#include <sodium.h>

#include <algorithm>
#include <array>
#include <optional>
#include <span>
#include <utility>

#include "crypto/fields.h"
#include "crypto/hex.h"
#include "crypto/sealed.h"
#include "daemon/registry/projects.h"
#include "storage/free_text.h"

namespace oauthvault::registry {
namespace {

constexpr std::string_view kHashLabel = "oauthvault/token";
constexpr std::size_t kHashSize = 32;
constexpr std::size_t kIdDigits = 32;
constexpr std::string_view kAny = "*";

TokenText NewText() {
  crypto::SecretBytes text(kTokenSize);
  crypto::RandomKey().Expose([&](std::span<const std::uint8_t> random) {
    std::array<char, kTokenSize - kTokenPrefix.size() + 1> hex;
    sodium_bin2hex(hex.data(), hex.size(), random.data(), random.size());
    text.Fill([&](std::span<std::uint8_t> room) {
      std::ranges::copy(kTokenPrefix, room.begin());
      std::copy_n(hex.begin(), hex.size() - 1, room.begin() + kTokenPrefix.size());
    });
    sodium_memzero(hex.data(), hex.size());
  });
  return TokenText(std::move(text));
}

bool IsManage(const storage::Token& token) { return token.project.empty(); }

}  // namespace

std::string Tokens::HashOf(std::string_view text) const {
  const std::array<std::string_view, 2> fields = {kHashLabel, text};
  return crypto::HexOf(crypto::KeyedHash(keyring_.FingerprintKey(), fields, kHashSize));
}

Result<void> Tokens::CheckPair(const NewToken& wanted) const {
  const bool manage = wanted.project.empty() && wanted.component.empty();
  if (manage) {
    if (wanted.rights == std::vector{access::Right::kRegister}) return {};
    return Fail(Code::kInvalid, "a token of no project holds register, and nothing else");
  }
  auto project = ProjectId::Parse(wanted.project);
  if (!project) return Fail(std::move(project));
  if (auto open = ExpectOpenProject(*project, store_); !open) return open;
  if (wanted.component != kAny) {
    auto component = ComponentId::Parse(wanted.component);
    if (!component) return Fail(std::move(component));
    auto registered = store_.Get<storage::Component>(storage::Component::Names(*component));
    if (!registered) return Fail(std::move(registered));
  }
  if (wanted.rights.empty()) return Fail(Code::kInvalid, "a token holds at least one right");
  for (const access::Right right : wanted.rights) {
    if (!access::IsPairRight(right) || right == access::Right::kReveal) {
      return Fail(Code::kInvalid, "a token of a project holds store, describe, encrypt or connect");
    }
    if (std::ranges::count(wanted.rights, right) != 1) {
      return Fail(Code::kInvalid, "a token names each right once");
    }
  }
  return {};
}

Result<IssuedToken> Tokens::Issue(const NewToken& wanted, storage::Act act, std::int64_t now_s) {
  if (auto ok = CheckText(wanted.title, "title"); !ok) return Fail(std::move(ok));
  // Of no project: nobody removes it.
  auto claim = store_.Claims().ToAdd(wanted.project);
  if (!claim) return Fail(std::move(claim));
  if (auto ok = CheckPair(wanted); !ok) return Fail(std::move(ok));
  const std::int64_t ttl_s = wanted.ttl_s == 0 ? kDefaultTokenTtlS : wanted.ttl_s;
  if (ttl_s < kMinTokenTtlS || ttl_s > kMaxTokenTtlS) {
    return Fail(Code::kInvalid, "a token is in force for 60 to 31,622,400 seconds");
  }
  TokenText text = NewText();
  std::string hash = text.Bytes().Expose(
      [this](std::span<const std::uint8_t> bytes) { return HashOf(crypto::AsField(bytes)); });
  auto id = TokenId::Parse(std::string_view(hash).substr(0, kIdDigits));
  if (!id) return Fail(std::move(id));
  storage::Token token{*id, std::move(hash), wanted.title, wanted.project, wanted.component};
  for (const access::Right right : wanted.rights) {
    token.rights.emplace_back(access::NameOf(right));
  }
  std::ranges::sort(token.rights);
  token.created_at_s = now_s;
  token.created_by = act.principal;
  token.expires_at_s = now_s + ttl_s;

  act.project = token.project;
  act.component = token.component;
  act.object = token.id.Str();
  for (const std::string& right : token.rights) act.object.append(" ").append(right);
  storage::Batch batch(std::move(act));
  batch.Insert(token);
  if (auto committed = store_.Commit(std::move(batch)); !committed) {
    return Fail(std::move(committed));
  }
  auto stored = store_.Get<storage::Token>(token.Names());
  if (!stored) return Fail(std::move(stored));
  return IssuedToken{std::move(*stored), std::move(text)};
}

Result<void> Tokens::Revoke(const TokenId& id, storage::Act act) {
  auto standing = store_.Get<storage::Token>(storage::Token::Names(id));
  if (!standing) return Fail(std::move(standing));
  act.project = standing->row.project;
  act.component = standing->row.component;
  act.object = id.Str();
  storage::Batch batch(std::move(act));
  batch.Remove(standing->row, standing->version);
  if (auto committed = store_.Commit(std::move(batch)); !committed) {
    return Fail(std::move(committed));
  }
  return {};
}

Result<TokenHolder> Tokens::Recognize(std::string_view text, std::int64_t now_s) const {
  const auto unknown = [] {
    return Fail(Code::kUnauthenticated, "the token is not known, was revoked or has expired");
  };
  if (text.size() != kTokenSize || !text.starts_with(kTokenPrefix)) return unknown();
  const std::string hash = HashOf(text);
  auto id = TokenId::Parse(std::string_view(hash).substr(0, kIdDigits));
  if (!id) return Fail(std::move(id));
  auto found = store_.Find<storage::Token>(storage::Token::Names(*id));
  if (!found) return Fail(std::move(found));
  if (!*found || (*found)->row.hash.size() != hash.size() ||
      sodium_memcmp((*found)->row.hash.data(), hash.data(), hash.size()) != 0 ||
      now_s >= (*found)->row.expires_at_s) {
    return unknown();
  }
  storage::Token& token = (*found)->row;
  access::GrantRule rule{"token/" + token.id.Str(), token.project, token.component, {}};
  for (const std::string& word : token.rights) {
    const std::optional<access::Right> right = access::RightOf(word);
    if (!right) return Fail(Code::kCorrupt, "a stored token names an unknown right");
    rule.rights.push_back(*right);
  }
  const auto kind = IsManage(token) ? access::Kind::kManageToken : access::Kind::kToken;
  return TokenHolder{access::Principal::OfToken(token.id, kind),
                     access::GrantTable({std::move(rule)}), std::move(token)};
}

Result<std::uint64_t> Tokens::RemoveWhere(std::string_view project, const storage::Act& act) {
  std::uint64_t removed = 0;
  std::string page_token;
  do {
    auto page = store_.List<storage::Token>("", "", page_token, storage::kMaxPageSize);
    if (!page) return Fail(std::move(page));
    storage::Act one = act;
    one.object = "tokens:";
    storage::Batch batch(std::move(one));
    std::uint64_t count = 0;
    for (const auto& stored : page->rows) {
      if (!project.empty() && stored.row.project != project) continue;
      batch.Remove(stored.row, stored.version);
      ++count;
    }
    if (count > 0) {
      batch.GetAct().object += std::to_string(count);
      if (auto committed = store_.Commit(std::move(batch)); !committed) {
        return Fail(std::move(committed));
      }
    }
    removed += count;
    page_token = page->next;
  } while (!page_token.empty());
  return removed;
}

Result<std::uint64_t> Tokens::RemoveOf(const ProjectId& project, const storage::Act& act) {
  return RemoveWhere(project.Str(), act);
}

Result<std::uint64_t> Tokens::RemoveAll(const storage::Act& act) { return RemoveWhere("", act); }

Result<std::int64_t> Tokens::SoonestExpiry(std::int64_t now_s) const {
  std::int64_t soonest = 0;
  auto looked = store_.ForEach<storage::Token>("", "", [&](const auto& stored) {
    const std::int64_t at_s = stored.row.expires_at_s;
    if (at_s > now_s && (soonest == 0 || at_s < soonest)) soonest = at_s;
  });
  if (!looked) return Fail(std::move(looked));
  return soonest;
}

}  // namespace oauthvault::registry
