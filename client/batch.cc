#include "client/batch.h"

#include <csv.h>

#include <algorithm>
#include <array>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <span>
#include <tuple>
#include <utility>

#include "client/input.h"

namespace oauthvault::client {
namespace {

using nlohmann::json;
using nlohmann::ordered_json;

constexpr std::size_t kMaxProblems = 20;
constexpr std::size_t kMaxIdSize = 128;
constexpr std::size_t kMaxNameSize = 200;
constexpr std::size_t kMaxTextSize = 1024;
constexpr std::string_view kByteOrderMark = "\xef\xbb\xbf";

bool IsId(std::string_view text) {
  return !text.empty() && text.size() <= kMaxIdSize && text != "." && text != ".." &&
         std::ranges::all_of(text, [](char c) {
           return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                  c == '.' || c == '_' || c == '-';
         });
}

bool IsPrintable(std::string_view text) {
  return std::ranges::all_of(text, [](char c) {
    return static_cast<unsigned char>(c) >= 0x20 && c != 0x7f;
  });
}
bool IsName(std::string_view text) {
  return !text.empty() && text.size() <= kMaxNameSize && IsPrintable(text);
}
bool IsFreeText(std::string_view text) { return text.size() <= kMaxTextSize; }
bool IsIdOrNothing(std::string_view text) { return text.empty() || IsId(text); }

struct Column {
  std::string_view name;
  std::string BatchRow::*member;
  bool required;
  bool (*is_good)(std::string_view);
  std::string_view rule;
};
constexpr std::string_view kIdRule = "must have 1 to 128 characters of A-Z a-z 0-9 . _ -";
constexpr std::array<Column, 7> kColumns = {{
    {"project", &BatchRow::project, true, IsId, kIdRule},
    {"component", &BatchRow::component, true, IsId, kIdRule},
    {"account", &BatchRow::account, true, IsId, kIdRule},
    {"id", &BatchRow::oauth_id, true, IsId, kIdRule},
    {"name", &BatchRow::name, true, IsName, "must have 1 to 200 bytes of printable UTF-8"},
    {"datasource", &BatchRow::datasource, false, IsIdOrNothing, kIdRule},
    {"authorized_for", &BatchRow::authorized_for, false, IsFreeText, "is longer than 1024 bytes"},
}};

const Column* ColumnOf(std::string_view name) {
  const auto column = std::ranges::find(kColumns, name, &Column::name);
  return column == kColumns.end() ? nullptr : &*column;
}

/// What is wrong with a batch, in the order of its rows.
class Problems {
 public:
  void Add(std::size_t row, std::string_view what) {
    if (++count_ > kMaxProblems) return;
    text_ += "row " + std::to_string(row) + ": " + std::string(what) + "; ";
  }
  bool Any() const { return count_ > 0; }
  std::unexpected<Failure> Refused() const {
    std::string text = text_;
    if (count_ > kMaxProblems) {
      text += "and " + std::to_string(count_ - kMaxProblems) + " more; ";
    }
    return Refuse(Code::kInvalid, text + "nothing was done");
  }

 private:
  std::size_t count_ = 0;
  std::string text_;
};

std::string ColumnNames() {
  std::string names;
  for (const Column& column : kColumns) {
    names += (names.empty() ? "" : ", ") + std::string(column.name);
  }
  return names;
}

/// Rows of fields as a CSV file has them.
struct Cells {
  std::vector<std::vector<std::string>> rows;
  std::vector<std::string> row;
};

Outcome<std::vector<BatchRow>> FromCsv(std::string_view text) {
  csv_parser parser;
  if (csv_init(&parser, CSV_STRICT | CSV_STRICT_FINI | CSV_APPEND_NULL) != 0) {
    return Refuse(Code::kUnavailable, "the CSV reader cannot start");
  }
  Cells cells;
  const auto field = [](void* bytes, std::size_t size, void* to) {
    auto& read = *static_cast<Cells*>(to);
    if (read.rows.size() <= kMaxBatchRows + 1) {
      read.row.emplace_back(static_cast<const char*>(bytes), size);
    }
  };
  const auto end = [](int, void* to) {
    auto& read = *static_cast<Cells*>(to);
    if (read.rows.size() <= kMaxBatchRows + 1) read.rows.push_back(std::move(read.row));
    read.row.clear();
  };
  const bool parsed =
      csv_parse(&parser, text.data(), text.size(), field, end, &cells) == text.size() &&
      csv_fini(&parser, field, end, &cells) == 0;
  csv_free(&parser);
  if (!parsed) {
    return Refuse(Code::kInvalid, "row " + std::to_string(cells.rows.size()) +
                                      " is not strict CSV: a quotation mark stands in the wrong "
                                      "place, or is missing; nothing was done");
  }
  if (cells.rows.size() < 2) {
    return Refuse(Code::kInvalid, "the batch has no rows behind its header");
  }
  if (cells.rows.size() > kMaxBatchRows + 1) {
    return Refuse(Code::kInvalid, "the batch has more than 1000 rows; make several of it");
  }
  std::vector<const Column*> columns;
  for (const std::string& name : cells.rows.front()) {
    const Column* column = ColumnOf(name);
    if (column == nullptr || std::ranges::find(columns, column) != columns.end()) {
      return Refuse(Code::kInvalid, "column " + std::to_string(columns.size() + 1) +
                                        " of the header is unknown or there twice; there are " +
                                        ColumnNames());
    }
    columns.push_back(column);
  }
  Problems problems;
  std::vector<BatchRow> rows;
  for (std::size_t i = 1; i < cells.rows.size(); ++i) {
    BatchRow row{.number = i};
    if (cells.rows[i].size() != columns.size()) {
      problems.Add(i, "does not have as many fields as the header");
      continue;
    }
    for (std::size_t k = 0; k < columns.size(); ++k) {
      row.*(columns[k]->member) = std::move(cells.rows[i][k]);
    }
    rows.push_back(std::move(row));
  }
  if (problems.Any()) return problems.Refused();
  return rows;
}

Outcome<std::vector<BatchRow>> FromJson(std::string_view text) {
  const json document = json::parse(text, nullptr, false);
  if (!document.is_array()) {
    return Refuse(Code::kInvalid, "the batch is not a JSON array of objects; nothing was done");
  }
  if (document.empty() || document.size() > kMaxBatchRows) {
    return Refuse(Code::kInvalid, "a batch has 1 to 1000 rows; make several of it");
  }
  Problems problems;
  std::vector<BatchRow> rows;
  for (std::size_t i = 0; i < document.size(); ++i) {
    BatchRow row{.number = i + 1};
    if (!document[i].is_object()) {
      problems.Add(i + 1, "is not an object");
      continue;
    }
    for (const auto& [key, value] : document[i].items()) {
      const Column* column = ColumnOf(key);
      if (column == nullptr) {
        problems.Add(i + 1, "has an unknown key; there are " + ColumnNames());
      } else if (!value.is_string()) {
        problems.Add(i + 1, std::string(column->name) + " is not a text");
      } else {
        row.*(column->member) = value.get<std::string>();
      }
    }
    rows.push_back(std::move(row));
  }
  if (problems.Any()) return problems.Refused();
  return rows;
}

std::string Quoted(std::string_view text) {
  std::string quoted(2 * text.size() + 2, '\0');
  quoted.resize(csv_write(quoted.data(), quoted.size(), text.data(), text.size()));
  return quoted;
}

}  // namespace

Outcome<std::vector<BatchRow>> ReadBatch(std::string_view text) {
  if (text.starts_with(kByteOrderMark)) text.remove_prefix(kByteOrderMark.size());
  if (text.size() > kMaxBatchBytes) {
    return Refuse(Code::kInvalid, "the batch is larger than 1 MiB; make several of it");
  }
  if (!IsUtf8({reinterpret_cast<const std::uint8_t*>(text.data()), text.size()})) {
    return Refuse(Code::kInvalid, "the batch is not UTF-8; save it as UTF-8");
  }
  const std::size_t first = text.find_first_not_of(" \t\r\n");
  const bool is_json = first != std::string_view::npos && text[first] == '[';
  auto rows = is_json ? FromJson(text) : FromCsv(text);
  if (!rows) return rows;
  Problems problems;
  std::map<std::tuple<std::string, std::string, std::string>, std::size_t> ids;
  for (const BatchRow& row : *rows) {
    for (const Column& column : kColumns) {
      if (!column.is_good(row.*(column.member))) {
        problems.Add(row.number, std::string(column.name) + " " + std::string(column.rule));
      }
    }
    const auto [other, is_first] =
        ids.try_emplace({row.project, row.component, row.oauth_id}, row.number);
    if (!is_first) {
      problems.Add(row.number, "stores under the same project, component and id as row " +
                                   std::to_string(other->second));
    }
  }
  if (problems.Any()) return problems.Refused();
  return rows;
}

std::string WriteLinks(const std::vector<BatchLink>& links, std::string_view path) {
  if (path.ends_with(".json")) {
    ordered_json document = ordered_json::array();
    for (const BatchLink& link : links) {
      document.push_back({{"project", link.row->project},
                          {"component", link.row->component},
                          {"account", link.row->account},
                          {"id", link.row->oauth_id},
                          {"name", link.row->name},
                          {"attempt", link.attempt},
                          {"expires_at_s", link.expires_at_s},
                          {"auth_uri", link.auth_uri}});
    }
    return document.dump(1) + '\n';
  }
  std::string text = "project,component,account,id,name,attempt,expires_at_s,auth_uri\n";
  for (const BatchLink& link : links) {
    text += link.row->project + ',' + link.row->component + ',' + link.row->account + ',' +
            link.row->oauth_id + ',' + Quoted(link.row->name) + ',' + link.attempt + ',' +
            std::to_string(link.expires_at_s) + ',' + Quoted(link.auth_uri) + '\n';
  }
  return text;
}

}  // namespace oauthvault::client
