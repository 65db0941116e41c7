#include "storage/free_text.h"

#include "storage/tables/rows.h"
#include "storage/utf8.h"

namespace oauthvault {

Result<void> CheckText(const std::string& text, Text field) {
  if (text.size() > storage::kMaxTextSize) {
    return Fail(Code::kInvalid, "a text has at most 1,024 bytes", Subject::Key(field));
  }
  if (!IsValidUtf8(text)) {
    return Fail(Code::kInvalid, "a text must be valid UTF-8", Subject::Key(field));
  }
  for (const char c : text) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) {
      return Fail(Code::kInvalid, "a text has no control characters", Subject::Key(field));
    }
  }
  return {};
}

}  // namespace oauthvault
