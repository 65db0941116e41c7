#include "storage/tables/fields.h"

#include <cstddef>
#include <cstdlib>
#include <limits>

#include "crypto/fields.h"

namespace oauthvault::storage {
namespace {

using Bytes = std::span<const std::uint8_t>;

constexpr std::size_t kHeadBytes = 1 + sizeof(std::uint32_t);

// Of the field that `fields` begin with: how large its value is, the value, and what is behind it.
std::size_t SizeOf(Bytes fields) {
  return crypto::FromLittleEndian<std::uint32_t>(fields.subspan(1));
}
Bytes ValueOf(Bytes fields) { return fields.subspan(kHeadBytes, SizeOf(fields)); }
Bytes Behind(Bytes fields) { return fields.subspan(kHeadBytes + SizeOf(fields)); }

void AppendField(std::vector<std::uint8_t>& bytes, std::uint8_t number, Bytes value) {
  // Rows are bounded far below this where they come in; a row that is not has to stop here, since
  // a size that was cut short would be sealed as if it were true.
  if (value.size() > std::numeric_limits<std::uint32_t>::max()) std::abort();
  const auto size = crypto::LittleEndian(static_cast<std::uint32_t>(value.size()));
  bytes.push_back(number);
  bytes.insert(bytes.end(), size.begin(), size.end());
  bytes.insert(bytes.end(), value.begin(), value.end());
}

// Whether bytes are fields in rising order. What follows reads bytes of which this is known.
Result<void> Check(Bytes rest) {
  std::uint8_t last = 0;
  while (!rest.empty()) {
    if (rest.size() < kHeadBytes) {
      return Fail(Code::kCorrupt, "a row's fields end within a field's head");
    }
    if (rest[0] < last) return Fail(Code::kCorrupt, "a row's fields are not in rising order");
    last = rest[0];
    if (SizeOf(rest) > rest.size() - kHeadBytes) {
      return Fail(Code::kCorrupt, "a row's fields end within a field");
    }
    rest = Behind(rest);
  }
  return {};
}

// From the first field on that has this number or a higher one; empty: there is none.
Bytes From(Bytes fields, std::uint8_t number) {
  while (!fields.empty() && fields[0] < number) fields = Behind(fields);
  return fields;
}

// The value of the first field of this number; empty where there is none.
Bytes FirstOf(Bytes fields, std::uint8_t number) {
  const Bytes found = From(fields, number);
  return found.empty() || found[0] != number ? Bytes() : ValueOf(found);
}

}  // namespace

void FieldWriter::Put(std::uint8_t number, std::string_view text) {
  if (!text.empty()) AppendField(bytes_, number, crypto::AsBytes(text));
}

void FieldWriter::Put(std::uint8_t number, std::uint64_t value) {
  if (value != 0) AppendField(bytes_, number, crypto::LittleEndian(value));
}

void FieldWriter::Put(std::uint8_t number, std::span<const std::string> texts) {
  for (const std::string& text : texts) AppendField(bytes_, number, crypto::AsBytes(text));
}

crypto::SecretBytes FieldWriter::Take() && {
  crypto::SecretBytes taken = crypto::SecretBytes::CopyOf(Bytes(bytes_));
  crypto::Wipe(std::span<std::uint8_t>(bytes_));
  bytes_.clear();
  return taken;
}

Result<FieldReader> FieldReader::Parse(crypto::SecretBytes bytes) {
  Result<void> checked = bytes.Expose(Check);
  if (!checked) return Fail(std::move(checked));
  return FieldReader(std::move(bytes));
}

std::string FieldReader::Text(std::uint8_t number) const {
  return bytes_.Expose([number](Bytes bytes) {
    const Bytes value = FirstOf(bytes, number);
    return std::string(value.begin(), value.end());
  });
}

std::uint64_t FieldReader::Number(std::uint8_t number) const {
  return bytes_.Expose([number](Bytes bytes) {
    const Bytes value = FirstOf(bytes, number);
    if (value.size() != sizeof(std::uint64_t)) return std::uint64_t{0};
    return crypto::FromLittleEndian<std::uint64_t>(value);
  });
}

std::vector<std::string> FieldReader::Texts(std::uint8_t number) const {
  return bytes_.Expose([number](Bytes bytes) {
    const Bytes first = From(bytes, number);
    const auto is_another = [number](Bytes rest) { return !rest.empty() && rest[0] == number; };
    std::size_t count = 0;
    for (Bytes rest = first; is_another(rest); rest = Behind(rest)) ++count;
    std::vector<std::string> texts;
    texts.reserve(count);
    for (Bytes rest = first; is_another(rest); rest = Behind(rest)) {
      const Bytes value = ValueOf(rest);
      texts.emplace_back(value.begin(), value.end());
    }
    return texts;
  });
}

}  // namespace oauthvault::storage
