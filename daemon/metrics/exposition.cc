#include "daemon/metrics/exposition.h"

#include <charconv>

namespace oauthvault::metrics {

void Exposition::Begin(std::string_view name, std::string_view type, std::string_view help) {
  name_ = name;
  text_.append("# HELP ").append(name).append(" ").append(help).append("\n");
  text_.append("# TYPE ").append(name).append(" ").append(type).append("\n");
}

void Exposition::Sample(std::string_view suffix, std::initializer_list<Label> labels,
                        double value) {
  text_.append(name_).append(suffix);
  char before = '{';
  for (const auto& [name, of] : labels) {
    text_ += before;
    text_.append(name).append("=\"").append(of).append("\"");
    before = ',';
  }
  if (labels.size() > 0) text_ += '}';
  text_.append(" ").append(Number(value)).append("\n");
}

void Exposition::Gauge(std::string_view name, std::string_view help, double value) {
  Begin(name, "gauge", help);
  Sample("", {}, value);
}

std::string Exposition::Number(double value) {
  char digits[64];
  const auto [end, error] =
      std::to_chars(digits, digits + sizeof digits, value, std::chars_format::fixed);
  return error == std::errc() ? std::string(digits, end) : "NaN";
}

}  // namespace oauthvault::metrics
