#include "storage/tables/fields.h"

#include <cstddef>
#include <cstdlib>
#include <limits>

#include "crypto/fields.h"

namespace oauthvault::storage {
namespace {

constexpr std::size_t kHeadBytes = 1 + sizeof(std::uint32_t);

void AppendField(std::vector<std::uint8_t>& bytes, std::uint8_t number,
                 std::span<const std::uint8_t> value) {
  // Rows are bounded far below this where they come in; a row that is not has to stop here, since
  // a size that was cut short would be sealed as if it were true.
  if (value.size() > std::numeric_limits<std::uint32_t>::max()) std::abort();
  const auto size = crypto::LittleEndian(static_cast<std::uint32_t>(value.size()));
  bytes.push_back(number);
  bytes.insert(bytes.end(), size.begin(), size.end());
  bytes.insert(bytes.end(), value.begin(), value.end());
}

std::span<const std::uint8_t> BytesOf(std::string_view text) {
  return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}

}  // namespace

void FieldWriter::Put(std::uint8_t number, std::string_view text) {
  if (!text.empty()) AppendField(bytes_, number, BytesOf(text));
}

void FieldWriter::Put(std::uint8_t number, std::uint64_t value) {
  if (value != 0) AppendField(bytes_, number, crypto::LittleEndian(value));
}

void FieldWriter::Put(std::uint8_t number, std::span<const std::string> texts) {
  for (const std::string& text : texts) AppendField(bytes_, number, BytesOf(text));
}

crypto::SecretBytes FieldWriter::Take() && {
  crypto::SecretBytes taken = crypto::SecretBytes::CopyOf(std::span<const std::uint8_t>(bytes_));
  crypto::Wipe(std::span<std::uint8_t>(bytes_));
  bytes_.clear();
  return taken;
}

Result<FieldReader> FieldReader::Parse(std::span<const std::uint8_t> rest) {
  FieldReader reader;
  std::uint8_t last = 0;
  while (!rest.empty()) {
    if (rest.size() < kHeadBytes) {
      return Fail(Code::kCorrupt, "a row's fields end within a field's head");
    }
    const std::uint8_t number = rest[0];
    if (number < last) return Fail(Code::kCorrupt, "a row's fields are not in rising order");
    last = number;
    const auto size_bytes = crypto::FromLittleEndian<std::uint32_t>(rest.subspan(1));
    rest = rest.subspan(kHeadBytes);
    if (size_bytes > rest.size()) {
      return Fail(Code::kCorrupt, "a row's fields end within a field");
    }
    const std::span<const std::uint8_t> value = rest.first(size_bytes);
    // An equal number goes behind its like, so a list keeps its order.
    reader.fields_.emplace(number, std::string(value.begin(), value.end()));
    rest = rest.subspan(size_bytes);
  }
  return reader;
}

std::string FieldReader::Text(std::uint8_t number) const {
  const auto found = fields_.lower_bound(number);
  return found == fields_.end() || found->first != number ? std::string() : found->second;
}

std::uint64_t FieldReader::Number(std::uint8_t number) const {
  const auto found = fields_.lower_bound(number);
  if (found == fields_.end() || found->first != number ||
      found->second.size() != sizeof(std::uint64_t)) {
    return 0;
  }
  return crypto::FromLittleEndian<std::uint64_t>(BytesOf(found->second));
}

std::vector<std::string> FieldReader::Texts(std::uint8_t number) const {
  std::vector<std::string> texts;
  const auto [begin, end] = fields_.equal_range(number);
  for (auto field = begin; field != end; ++field) texts.push_back(field->second);
  return texts;
}

}  // namespace oauthvault::storage
