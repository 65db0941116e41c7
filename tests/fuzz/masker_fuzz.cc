// What `run` hides: a stream in chunks is shown as a naive masker shows it, and whatever a
// component writes of a secret, in any form, is gone.

#include "client/masker.h"

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "client/hidden.h"
#include "tests/client/naive_masking.h"

namespace oauthvault::client {
namespace {

void Check(bool holds) {
  if (!holds) std::abort();
}

// Takes bytes off the front of an input; 0 behind its end.
class Input {
 public:
  explicit Input(std::string_view bytes) : bytes_(bytes) {}
  std::uint8_t Byte() { return Text(1).empty() ? 0 : static_cast<std::uint8_t>(last_.front()); }
  std::string_view Text(std::size_t size) {
    last_ = bytes_.substr(0, size);
    bytes_.remove_prefix(last_.size());
    return last_;
  }
  std::string_view Rest() const { return bytes_; }

 private:
  std::string_view bytes_;
  std::string_view last_;
};

std::string Masked(std::string_view stream, const HiddenTexts& texts, std::size_t chunk) {
  Masker masker(texts);
  std::string shown;
  for (std::size_t at = 0; at < stream.size(); at += chunk) {
    const std::string_view part = stream.substr(at, chunk);
    masker.Take({reinterpret_cast<const std::uint8_t*>(part.data()), part.size()}, shown);
  }
  masker.End(shown);
  return shown;
}

// Count and sizes of the texts, the texts, the size of a chunk, and the stream.
void OneInput(std::string_view bytes) {
  Input input(bytes);
  std::vector<std::string> texts(input.Byte() % 8);
  for (std::string& text : texts) {
    const std::size_t size = input.Byte();
    text = input.Text(size >= 250 ? 3 * size : size);
  }
  const std::size_t chunk = 1 + input.Byte() % 64;
  Check(Masked(input.Rest(), HiddenTexts(texts), chunk) == MaskedNaively(input.Rest(), texts));

  const std::string_view secret = input.Rest().substr(0, 300);
  if (secret.empty()) return;
  const std::vector<std::string> forms = FormsOf(secret);
  const HiddenTexts hidden(forms);
  for (const std::string& form : forms) Check(Masked(form, hidden, chunk) == kMask);
}

}  // namespace
}  // namespace oauthvault::client

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  oauthvault::client::OneInput({reinterpret_cast<const char*>(data), size});
  return 0;
}
