#pragma once

#include <algorithm>
#include <cstddef>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "crypto/error.h"
#include "daemon/http/exchange.h"
#include "storage/tables/store.h"

namespace oauthvault::http {

/// A list has at most so many elements: it is answered whole, as Keboola's clients expect it.
inline constexpr std::size_t kMostListed = 10'000;

/// All rows of a table, or of a project and component in it, as `shown` writes each, by their id:
/// the store lists by the hashes of names, which say nothing to people. Errors: those of
/// Store::List, and Invalid for more than kMostListed.
template <storage::Row R, class Shown>
Result<Reply> ListAll(const storage::Store& store, std::string_view project,
                      std::string_view component, Shown shown) {
  auto list = nlohmann::ordered_json::array();
  auto listed = store.ForEach<R>(project, component, [&](const auto& stored) -> Result<void> {
    if (list.size() == kMostListed) {
      return Fail(Code::kInvalid,
                  "the list has more than 10,000 elements; page through it by gRPC");
    }
    list.push_back(shown(stored.row));
    return {};
  });
  if (!listed) return Fail(std::move(listed));
  const auto id_of = [](const nlohmann::ordered_json& one) -> const std::string& {
    return one["id"].template get_ref<const std::string&>();
  };
  // Not std::ranges: nlohmann's iterators are no C++20 ones.
  std::sort(list.begin(), list.end(),
            [&](const auto& left, const auto& right) { return id_of(left) < id_of(right); });
  return Reply{.body = BodyText(list)};
}

}  // namespace oauthvault::http
