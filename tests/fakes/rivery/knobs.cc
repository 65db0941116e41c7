#include "tests/fakes/rivery/knobs.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <functional>
#include <span>
#include <utility>

namespace oauthvault::fakes {
namespace {

template <class T>
struct Choice {
  std::string_view text;
  T value;
};

constexpr std::array kReplyForms = std::to_array<Choice<ReplyForm>>({
    {"200", ReplyForm::kOkWithoutCode},
    {"202", ReplyForm::kAccepted},
    {"404", ReplyForm::kNotFound},
    {"400", ReplyForm::kBadRequest},
    {"200-with-code", ReplyForm::kOkWithErrorCode},
});
constexpr std::array kUpdateRoutes = std::to_array<Choice<UpdateRoute>>({
    {"any", UpdateRoute::kAny},
    {"put-path", UpdateRoute::kPutPath},
    {"put-query", UpdateRoute::kPutQuery},
    {"patch-query", UpdateRoute::kPatchQuery},
});
constexpr std::array kIdForms = std::to_array<Choice<IdForm>>({
    {"plain", IdForm::kPlain},
    {"oid", IdForm::kOid},
});
constexpr std::array kDateForms = std::to_array<Choice<DateForm>>({
    {"text", DateForm::kText},
    {"ms", DateForm::kMilliseconds},
    {"extended", DateForm::kExtended},
});
constexpr std::array kPropertiesForms = std::to_array<Choice<PropertiesForm>>({
    {"array", PropertiesForm::kArray},
    {"object", PropertiesForm::kObject},
});
constexpr std::array kSwitch = std::to_array<Choice<bool>>({{"on", true}, {"off", false}});

/// Far more than any test waits; keeps sums of times in range.
constexpr unsigned kLargestNumber = 1'000'000;

struct Row {
  std::string name;
  std::string values;
  std::function<bool(Knobs&, std::string_view)> set;
};

template <class T, std::size_t N>
Row Choose(std::string name, const std::array<Choice<T>, N>& choices, T Knobs::*member) {
  std::string values;
  for (const Choice<T>& choice : choices) {
    if (!values.empty()) values += '|';
    values += choice.text;
  }
  return {std::move(name), std::move(values),
          [&choices, member](Knobs& knobs, std::string_view text) {
            const auto found = std::ranges::find(choices, text, &Choice<T>::text);
            if (found == choices.end()) return false;
            knobs.*member = found->value;
            return true;
          }};
}

Row Count(std::string name, std::string unit, std::function<void(Knobs&, unsigned)> set) {
  return {std::move(name), std::move(unit),
          [set = std::move(set)](Knobs& knobs, std::string_view text) {
            unsigned number = 0;
            const char* end = text.data() + text.size();
            const auto [rest, failure] = std::from_chars(text.data(), end, number);
            if (failure != std::errc() || rest != end || number > kLargestNumber) return false;
            set(knobs, number);
            return true;
          }};
}

const std::vector<Row>& Rows() {
  static const std::vector<Row> rows = {
      Choose("pending", kReplyForms, &Knobs::pending),
      Choose("refused", kReplyForms, &Knobs::refused),
      Choose("expired", kReplyForms, &Knobs::expired),
      Choose("read_again", kReplyForms, &Knobs::read_again),
      Choose("credentials_once", kSwitch, &Knobs::credentials_once),
      Choose("update_route", kUpdateRoutes, &Knobs::update_route),
      Choose("id_form", kIdForms, &Knobs::id_form),
      Choose("date_form", kDateForms, &Knobs::date_form),
      Choose("properties_form", kPropertiesForms, &Knobs::properties_form),
      Choose("oauth_token", kSwitch, &Knobs::oauth_token),
      Choose("strict_fields", kSwitch, &Knobs::strict_fields),
      Count("page_size", "number", [](Knobs& knobs, unsigned n) { knobs.page_size = n; }),
      Count("consent_delay", "seconds",
            [](Knobs& knobs, unsigned n) { knobs.consent_delay = std::chrono::seconds(n); }),
      Count("auto_allow", "seconds",
            [](Knobs& knobs, unsigned n) { knobs.auto_allow = std::chrono::seconds(n); }),
  };
  return rows;
}

}  // namespace

std::vector<KnobName> KnobNames() {
  std::vector<KnobName> names;
  for (const Row& row : Rows()) names.push_back({row.name, row.values});
  return names;
}

bool SetKnob(Knobs& knobs, std::string_view name, std::string_view value) {
  for (const Row& row : Rows()) {
    if (row.name == name) return row.set(knobs, value);
  }
  return false;
}

}  // namespace oauthvault::fakes
