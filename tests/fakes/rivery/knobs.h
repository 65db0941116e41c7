#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace oauthvault::fakes {

/// A reply that is not the credentials: nothing public says which one the vendor gives when.
enum class ReplyForm : std::uint8_t {
  kOkWithoutCode,    ///< `200`: HTTP 200, a body without any success code
  kAccepted,         ///< `202`: HTTP 202, the same body
  kNotFound,         ///< `404`: HTTP 404, `detail` is a string
  kBadRequest,       ///< `400`: HTTP 400, `detail` is a list with `msg`
  kOkWithErrorCode,  ///< `200-with-code`: HTTP 200, a body with `Code` 400
};

/// Which of the three candidate routes an update may take.
enum class UpdateRoute : std::uint8_t {
  kAny,         ///< `any`
  kPutPath,     ///< `put-path`: PUT /api/connections/{id}
  kPutQuery,    ///< `put-query`: PUT /api/connections?_id={id}
  kPatchQuery,  ///< `patch-query`: PATCH /api/connections?_id={cross_id}
};

/// How an id is written in a reply.
enum class IdForm : std::uint8_t {
  kPlain,  ///< `plain`: "24 hex"
  kOid,    ///< `oid`: {"$oid": "24 hex"}
};

/// How a date is written in a reply.
enum class DateForm : std::uint8_t {
  kText,          ///< `text`: RFC 3339
  kMilliseconds,  ///< `ms`: a number
  kExtended,      ///< `extended`: {"$date": number}
};

/// How the properties of a type are written.
enum class PropertiesForm : std::uint8_t {
  kArray,   ///< `array`: [{"name": .., "type": .., "required": ..}]
  kObject,  ///< `object`: {"name": {"type": .., "required": ..}}
};

/// Everything that the vendor leaves open, and what this server answers for it.
struct Knobs {
  ReplyForm pending = ReplyForm::kOkWithoutCode;  ///< credentials asked for before consent
  ReplyForm refused = ReplyForm::kOkWithErrorCode;  ///< .. after the person said no
  ReplyForm expired = ReplyForm::kNotFound;         ///< .. after the end of validity_duration
  ReplyForm read_again = ReplyForm::kNotFound;  ///< .. a second time, with `credentials_once`
  bool credentials_once = false;                ///< credentials can be read a single time
  UpdateRoute update_route = UpdateRoute::kAny;
  IdForm id_form = IdForm::kPlain;
  DateForm date_form = DateForm::kText;
  PropertiesForm properties_form = PropertiesForm::kArray;
  bool oauth_token = false;             ///< the start also returns `oauth_token`
  bool strict_fields = true;            ///< an unknown field is refused, not dropped
  std::size_t page_size = 0;            ///< connections a page; 0: one bare array
  std::chrono::seconds consent_delay{0};  ///< from the click to readable credentials
  std::optional<std::chrono::seconds> auto_allow = {};  ///< clicks allow so long after the start
};

/// The name of every knob, as flags (behind `--`) and control routes (`-` written as `_`) use it,
/// with the values it takes, for people.
struct KnobName {
  std::string name;    ///< `pending`, `update_route`, ..
  std::string values;  ///< `200|202|404|400|200-with-code`, `seconds`, ..
};

/// All knobs by name.
std::vector<KnobName> KnobNames();

/// Sets the knob `name` from its text. False: no such knob, or not a value of it; nothing changed.
bool SetKnob(Knobs& knobs, std::string_view name, std::string_view value);

}  // namespace oauthvault::fakes
