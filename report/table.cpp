#include "report/table.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/quantity.h"
#include "model/cost.h"
#include "report/escape.h"

namespace mnm {
namespace {

// Columns on a terminal: bytes that start a UTF-8 character.
std::size_t columns_of(const std::string& text) {
  return static_cast<std::size_t>(std::count_if(text.begin(), text.end(), [](char c) {
    return (static_cast<unsigned char>(c) & 0xC0) != 0x80;
  }));
}

// Text that a spreadsheet would take for a formula has an apostrophe before it, which makes it text
// (https://owasp.org/www-community/attacks/CSV_Injection). Some leave out blanks before the sign,
// or take its full-width form for it. A "-" alone is none.
std::string csv_text(const std::string& value) {
  std::string_view rest = value;
  for (bool blank = true; blank;) {
    blank = false;
    for (const std::string_view space : {" ", "\t", "\r", "\n", "\u00a0", "\u3000"}) {
      if (!rest.starts_with(space)) continue;
      rest.remove_prefix(space.size());
      blank = true;
    }
  }
  constexpr std::string_view kSigns[] = {"=",      "+",      "-",      "@",
                                         "\uff1d", "\uff0b", "\uff0d", "\uff20"};
  const bool is_formula = value.size() > 1 && std::ranges::any_of(kSigns, [&](auto sign) {
                            return rest.starts_with(sign);
                          });
  std::string text(is_formula ? 1 : 0, '\'');
  return text.append(printable(value));
}

std::string csv_field(const nlohmann::json& value) {
  if (value.is_null()) return "";
  std::string text = value.is_string() ? csv_text(value.get<std::string>()) : value.dump();
  if (text.find_first_of(",\"\r\n") == std::string::npos) return text;
  std::string quoted = "\"";
  for (const char c : text) quoted += c == '"' ? std::string("\"\"") : std::string(1, c);
  return quoted + "\"";
}

nlohmann::json finite(double value) {
  return std::isfinite(value) ? nlohmann::json(value) : nlohmann::json();
}

}  // namespace

Cell cell(std::string text) {
  nlohmann::json value = text;
  return {std::move(text), std::move(value), {}};
}

Cell cell(std::int64_t value) { return {std::to_string(value), value, {}}; }

Cell quantity_cell(std::int64_t value) { return {quantity(static_cast<double>(value)), value, {}}; }

Cell real_cell(double value, int decimals) {
  return {fmt::format("{:.{}f}", value, decimals), finite(value), {}};
}

Cell measured_cell(double value, double standard_error) {
  return {measured_text(value, standard_error), finite(value), standard_error};
}

Cell missing_cell() { return {"", nullptr, {}}; }

std::string measured_text(double value, double standard_error) {
  if (!std::isfinite(value)) return fmt::format("{}", value);
  if (!std::isfinite(standard_error)) return fmt::format("{:.4f} ± -", value);
  int decimals = 4;
  if (standard_error > 0) {
    decimals = std::max(0, 1 - static_cast<int>(std::floor(std::log10(standard_error))));
    if (decimals > 6) return fmt::format("{:.1e} ± {:.1e}", value, standard_error);
  }
  return fmt::format("{:.{}f} ± {:.{}f}", value, decimals, standard_error, decimals);
}

std::string Table::text() const {
  std::vector<std::vector<std::string>> texts;
  for (const auto& row : rows) {
    std::vector<std::string>& line = texts.emplace_back();
    for (const Cell& c : row) line.push_back(printable(c.text));
  }
  std::vector<std::size_t> widths;
  std::vector<std::size_t> shown;
  for (std::size_t c = 0; c < columns.size(); ++c) {
    std::size_t width = columns_of(columns[c].title);
    for (const auto& row : texts) width = std::max(width, columns_of(row[c]));
    widths.push_back(width);
    if (columns[c].for_people) shown.push_back(c);
  }
  std::string out;
  const auto line = [&](const auto& text_of) {
    std::string current;
    for (const std::size_t c : shown) {
      const std::string text = text_of(c);
      const std::string space(widths[c] - columns_of(text), ' ');
      if (c != shown.front()) current += "  ";
      current += columns[c].right ? space + text : text + space;
    }
    current.erase(current.find_last_not_of(' ') + 1);
    out += current + "\n";
  };
  line([&](std::size_t c) { return columns[c].title; });
  for (const auto& row : texts) line([&](std::size_t c) { return row[c]; });
  return out;
}

nlohmann::ordered_json Table::json() const {
  auto array = nlohmann::ordered_json::array();
  for (const auto& row : rows) {
    auto object = nlohmann::ordered_json::object();
    for (std::size_t c = 0; c < columns.size(); ++c) {
      object[columns[c].key] = row[c].value;
      if (columns[c].measured) {
        object[columns[c].key + "_se"] = row[c].se ? finite(*row[c].se) : nlohmann::json();
      }
    }
    array.push_back(std::move(object));
  }
  return array;
}

std::string Table::csv() const {
  std::string out;
  for (const Column& column : columns) {
    if (!out.empty()) out += ',';
    out += csv_field(column.key);
    if (column.measured) out.append(",").append(csv_field(column.key + "_se"));
  }
  out += "\r\n";
  for (const auto& row : rows) {
    std::string line;
    for (std::size_t c = 0; c < columns.size(); ++c) {
      if (c > 0) line += ',';
      line += csv_field(row[c].value);
      if (columns[c].measured)
        line.append(",").append(row[c].se ? csv_field(finite(*row[c].se)) : "");
    }
    out += line + "\r\n";
  }
  return out;
}

}  // namespace mnm
