#include "storage/names.h"

#include <algorithm>

namespace oauthvault {

bool IsValidId(std::string_view text) {
  if (text.empty() || text.size() > kMaxIdSize || text == "." || text == "..") return false;
  return std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           c == '.' || c == '_' || c == '-';
  });
}

}  // namespace oauthvault
