#include "storage/tables/act.h"

#include <string_view>

#include "crypto/secret.h"
#include "storage/tables/fields.h"
#include "storage/utf8.h"

namespace oauthvault::storage {
namespace {

// FORMAT.md, "Acts".
enum ActField : std::uint8_t {
  kAct = 1,
  kPrincipal = 2,
  kRight = 3,
  kProject = 4,
  kComponent = 5,
  kOauthId = 6,
  kObject = 7,
  kVersion = 8,
  kPeer = 9,
  kRequestId = 10,
  kCode = 11,
};

// Cut at a character's end, so that valid UTF-8 stays valid.
std::string_view Bounded(std::string_view text) {
  if (text.size() <= kMaxActTextSize) return text;
  text = text.substr(0, kMaxActTextSize);
  while (!text.empty() && !IsValidUtf8(std::string(text))) text.remove_suffix(1);
  return text;
}

}  // namespace

std::vector<std::uint8_t> EncodeAct(const Act& act) {
  FieldWriter fields;
  fields.Put(kAct, Bounded(act.act));
  fields.Put(kPrincipal, Bounded(act.principal));
  fields.Put(kRight, Bounded(act.right));
  fields.Put(kProject, Bounded(act.project));
  fields.Put(kComponent, Bounded(act.component));
  fields.Put(kOauthId, Bounded(act.oauth_id));
  fields.Put(kObject, Bounded(act.object));
  fields.Put(kVersion, act.version);
  fields.Put(kPeer, Bounded(act.peer));
  fields.Put(kRequestId, Bounded(act.request_id));
  fields.Put(kCode, Bounded(act.code));
  return std::move(fields).TakeBytes();
}

Result<Act> DecodeAct(std::span<const std::uint8_t> bytes) {
  Result<FieldReader> fields = FieldReader::Parse(bytes);
  if (!fields) return Fail(std::move(fields));
  return Act{
      .act = fields->Text(kAct),
      .principal = fields->Text(kPrincipal),
      .right = fields->Text(kRight),
      .project = fields->Text(kProject),
      .component = fields->Text(kComponent),
      .oauth_id = fields->Text(kOauthId),
      .object = fields->Text(kObject),
      .version = fields->Number(kVersion),
      .peer = fields->Text(kPeer),
      .request_id = fields->Text(kRequestId),
      .code = fields->Text(kCode),
  };
}

}  // namespace oauthvault::storage
