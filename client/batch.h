#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "client/failure.h"

namespace oauthvault::client {

/// A batch has at most so many rows and bytes.
inline constexpr std::size_t kMaxBatchRows = 1'000;
inline constexpr std::size_t kMaxBatchBytes = 1024 * 1024;

/// One consent that is wanted, and the connection that is to come of it.
struct BatchRow {
  std::size_t number = 0;  ///< in the file, from 1; the header of a CSV file does not count
  std::string project;
  std::string component;
  std::string account;
  std::string oauth_id;        ///< column `id`
  std::string name;            ///< the connection's
  std::string authorized_for;  ///< may be left out
  std::string datasource;      ///< may be left out; else it must be the component's
};

/// Reads a batch: JSON (an array of objects) when it begins with `[`, else CSV (RFC 4180, UTF-8,
/// with a header). The columns are project, component, account, id and name; datasource and
/// authorized_for may be left out. Every row is checked, and no two may store under one id.
/// Errors: kInvalid: all that is wrong, by row and column, 20 things at most; nothing of the file
/// is quoted but the names of columns.
Outcome<std::vector<BatchRow>> ReadBatch(std::string_view text);

/// One consent link, for the file of links.
struct BatchLink {
  const BatchRow* row = nullptr;
  std::string attempt;
  std::string auth_uri;
  std::int64_t expires_at_s = 0;
};
/// The file of links: JSON where `path` ends in `.json`, else CSV with a header.
std::string WriteLinks(const std::vector<BatchLink>& links, std::string_view path);

}  // namespace oauthvault::client
