#include "client/output.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/message.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cerrno>
#include <chrono>
#include <cstdio>

namespace oauthvault::client {
namespace {

using google::protobuf::EnumValueDescriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;
using nlohmann::ordered_json;

constexpr std::string_view kSizeSuffix = "_bytes";
/// `at_s` and everything that ends so; the unit is not shown.
bool IsTime(std::string_view key) { return key == "at_s" || key.ends_with("_at_s"); }

/// ATTEMPT_STATE_STARTED -> started: the first value of an enum is its prefix and UNSPECIFIED.
std::string ShortName(const EnumValueDescriptor& value) {
  const std::string zero = value.type()->value(0)->name();
  const std::size_t prefix = zero.rfind("UNSPECIFIED");
  std::string name = value.name().substr(prefix == std::string::npos ? 0 : prefix);
  std::ranges::transform(name, name.begin(), [](unsigned char c) {
    return static_cast<char>(std::tolower(c));
  });
  return name;
}

/// One value of a field; `index` is -1 for a field that is not repeated.
ordered_json ValueOf(const Message& message, const FieldDescriptor& field, int index) {
  const Reflection& reflection = *message.GetReflection();
  const bool one = index < 0;
  switch (field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_INT32:
      return one ? reflection.GetInt32(message, &field)
                 : reflection.GetRepeatedInt32(message, &field, index);
    case FieldDescriptor::CPPTYPE_INT64:
      return one ? reflection.GetInt64(message, &field)
                 : reflection.GetRepeatedInt64(message, &field, index);
    case FieldDescriptor::CPPTYPE_UINT32:
      return one ? reflection.GetUInt32(message, &field)
                 : reflection.GetRepeatedUInt32(message, &field, index);
    case FieldDescriptor::CPPTYPE_UINT64:
      return one ? reflection.GetUInt64(message, &field)
                 : reflection.GetRepeatedUInt64(message, &field, index);
    case FieldDescriptor::CPPTYPE_BOOL:
      return one ? reflection.GetBool(message, &field)
                 : reflection.GetRepeatedBool(message, &field, index);
    case FieldDescriptor::CPPTYPE_ENUM:
      return ShortName(one ? *reflection.GetEnum(message, &field)
                           : *reflection.GetRepeatedEnum(message, &field, index));
    case FieldDescriptor::CPPTYPE_MESSAGE:
      return AsJson(one ? reflection.GetMessage(message, &field)
                        : reflection.GetRepeatedMessage(message, &field, index));
    case FieldDescriptor::CPPTYPE_STRING:
      return one ? reflection.GetString(message, &field)
                 : reflection.GetRepeatedString(message, &field, index);
    case FieldDescriptor::CPPTYPE_DOUBLE:
    case FieldDescriptor::CPPTYPE_FLOAT: break;  // the contract has none
  }
  return nullptr;
}

std::string Dump(const ordered_json& json) {
  return json.dump(-1, ' ', false, ordered_json::error_handler_t::replace);
}

/// created_at_s -> created at; size_bytes -> size
std::string Label(std::string_view key) {
  std::string label(IsTime(key) ? key.substr(0, key.size() - 2) : key);
  if (key.ends_with(kSizeSuffix)) label.resize(key.size() - kSizeSuffix.size());
  std::ranges::replace(label, '_', ' ');
  return label;
}

std::string ForPeople(std::string_view key, const ordered_json& value) {
  if (value.is_boolean()) return value.get<bool>() ? "yes" : "no";
  if (value.is_number()) {
    if (key.ends_with(kSizeSuffix)) return RenderSize(value.get<std::uint64_t>());
    return IsTime(key) ? RenderTime(value.get<std::int64_t>()) : value.dump();
  }
  if (value.is_string()) {
    const auto& text = value.get_ref<const std::string&>();
    if (text.empty()) return "-";
    // The time of credentials is text, in UTC, as the original has it.
    return Printable(text) + (key == "created" ? "Z" : "");
  }
  std::string parts;
  for (const auto& [name, part] : value.items()) {
    const std::string text = ForPeople(name, part);
    if (text == "-") continue;
    if (!parts.empty()) parts += ", ";
    parts += text;
  }
  return parts.empty() ? "-" : parts;
}

/// How many columns a UTF-8 text takes; near enough for ids and titles.
std::size_t Width(std::string_view text) {
  return static_cast<std::size_t>(std::ranges::count_if(
      text, [](char c) { return (static_cast<unsigned char>(c) & 0xC0U) != 0x80U; }));
}

}  // namespace

ordered_json AsJson(const Message& message) {
  ordered_json object = ordered_json::object();
  const auto* type = message.GetDescriptor();
  for (int number = 0; number < type->field_count(); ++number) {
    const FieldDescriptor& field = *type->field(number);
    if (field.type() == FieldDescriptor::TYPE_BYTES) continue;
    if (!field.is_repeated()) {
      object[field.name()] = ValueOf(message, field, -1);
      continue;
    }
    ordered_json list = ordered_json::array();
    const int size = message.GetReflection()->FieldSize(message, &field);
    for (int index = 0; index < size; ++index) list.push_back(ValueOf(message, field, index));
    object[field.name()] = std::move(list);
  }
  return object;
}

void AppendRows(const Message& page, std::vector<ordered_json>& rows) {
  ordered_json fields = AsJson(page);
  for (auto& value : fields) {
    if (!value.is_array()) continue;
    for (auto& row : value) rows.push_back(std::move(row));
  }
}

std::string RenderOne(const ordered_json& object, Style style) {
  if (style == Style::kJson) return Dump(object) + '\n';
  std::string text;
  for (const auto& [key, value] : object.items()) {
    text += Label(key) + ": " + ForPeople(key, value) + '\n';
  }
  return text;
}

std::string RenderList(std::span<const ordered_json> rows,
                       std::initializer_list<std::string_view> columns, Style style) {
  if (style == Style::kJson) {
    ordered_json list = ordered_json::array();
    for (const auto& row : rows) list.push_back(row);
    return Dump(list) + '\n';
  }
  std::vector<std::vector<std::string>> cells(1);
  for (const std::string_view column : columns) {
    std::string label = Label(column);
    std::ranges::transform(label, label.begin(), [](unsigned char c) {
      return static_cast<char>(std::toupper(c));
    });
    cells.front().push_back(std::move(label));
  }
  for (const auto& row : rows) {
    auto& line = cells.emplace_back();
    for (const std::string_view column : columns) {
      const auto value = row.find(std::string(column));
      line.push_back(value == row.end() ? "-" : ForPeople(column, *value));
    }
  }
  std::vector<std::size_t> widths(columns.size(), 0);
  for (const auto& line : cells) {
    for (std::size_t column = 0; column < line.size(); ++column) {
      widths[column] = std::max(widths[column], Width(line[column]));
    }
  }
  std::string text;
  for (const auto& line : cells) {
    for (std::size_t column = 0; column < line.size(); ++column) {
      text += line[column];
      if (column + 1 < line.size()) text.append(widths[column] - Width(line[column]) + 2, ' ');
    }
    text += '\n';
  }
  return text;
}

std::string RenderFailure(const Failure& failure, Style style) {
  if (style == Style::kPeople) return "oauthvault: " + Printable(failure.message) + '\n';
  ordered_json error = ordered_json::object();
  error["code"] = NameOf(failure.code);
  error["message"] = failure.message;
  ordered_json object = ordered_json::object();
  object["error"] = std::move(error);
  return Dump(object) + '\n';
}

std::string RenderTime(std::int64_t seconds) {
  // Years of four digits; what is beyond is no time of a vault.
  constexpr std::int64_t kLastSecondOf9999 = 253'402'300'799;
  if (seconds <= 0 || seconds > kLastSecondOf9999) return "-";
  const std::chrono::sys_seconds time{std::chrono::seconds(seconds)};
  const auto day = std::chrono::floor<std::chrono::days>(time);
  const std::chrono::year_month_day date(day);
  const std::chrono::hh_mm_ss clock(time - day);
  std::array<char, 64> text{};
  std::snprintf(text.data(), text.size(), "%04d-%02u-%02u %02d:%02d:%02dZ",
                static_cast<int>(date.year()), static_cast<unsigned>(date.month()),
                static_cast<unsigned>(date.day()), static_cast<int>(clock.hours().count()),
                static_cast<int>(clock.minutes().count()),
                static_cast<int>(clock.seconds().count()));
  return text.data();
}

std::string RenderSize(std::uint64_t size_bytes) {
  static constexpr std::array<const char*, 4> kUnits = {"KiB", "MiB", "GiB", "TiB"};
  if (size_bytes < 1024) return std::to_string(size_bytes) + " B";
  double size = static_cast<double>(size_bytes) / 1024;
  std::size_t unit = 0;
  // 1023.95 would be rounded to 1024.0.
  for (; size >= 1023.95 && unit + 1 < kUnits.size(); ++unit) size /= 1024;
  std::array<char, 64> text{};
  std::snprintf(text.data(), text.size(), "%.1f %s", size, kUnits[unit]);
  return text.data();
}

std::string Printable(std::string_view text) {
  std::string printable(text);
  for (std::size_t i = 0; i < printable.size(); ++i) {
    const auto byte = static_cast<unsigned char>(printable[i]);
    // C1 controls (U+0080 to U+009F) are C2 80 to C2 9F in UTF-8.
    const bool c1 = byte == 0xC2 && i + 1 < printable.size() &&
                    static_cast<unsigned char>(printable[i + 1]) < 0xA0;
    if (byte < 0x20 || byte == 0x7F) printable[i] = '?';
    if (c1) printable.replace(i, 2, "?");
  }
  return printable;
}

Outcome<void> WriteOut(std::string_view text) {
  return WriteOut(std::span(reinterpret_cast<const std::uint8_t*>(text.data()), text.size()));
}

Outcome<void> WriteOut(std::span<const std::uint8_t> bytes) {
  // Unbuffered, so that a secret does not stay behind in a buffer of the library.
  std::setvbuf(stdout, nullptr, _IONBF, 0);
  if (std::fwrite(bytes.data(), 1, bytes.size(), stdout) != bytes.size() ||
      std::fflush(stdout) != 0) {
    if (errno == EPIPE) return Refuse(Code::kInvalid, std::string(kNobodyReads));
    return Refuse(Code::kInvalid, "cannot write to standard output: it is closed or full");
  }
  return {};
}

Outcome<void> WriteAround(const std::string& before, const crypto::SecretBytes& secret,
                          const std::string& after) {
  auto written = WriteOut(before);
  if (written) {
    written = secret.Expose([](std::span<const std::uint8_t> bytes) { return WriteOut(bytes); });
  }
  return written ? WriteOut(after) : written;
}

}  // namespace oauthvault::client
