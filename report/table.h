// Results as a table for people and as JSON or CSV for programs, from one description of columns.
// Nothing is printed here; cli/output.h does that.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

namespace mnm {

struct Column {
  std::string key;    // in JSON and CSV: "loss"; a measured one adds "loss_se"
  std::string title;  // for people, with the unit: "loss nats"
  bool right = true;  // numbers are aligned on the right
  bool measured = false;
  bool for_people = true;  // else only in JSON and CSV
};

struct Cell {
  std::string text;          // for people; shown as printable() makes it
  nlohmann::json value;      // for programs, exact; null where there is none
  std::optional<double> se;  // of a measured one
};

Cell cell(std::string text);
Cell cell(std::int64_t value);                            // digits
Cell quantity_cell(std::int64_t value);                   // 1.23M, exact for programs
Cell real_cell(double value, int decimals);               // null where not finite
Cell measured_cell(double value, double standard_error);  // 1.3903 ± 0.0041: two digits of error
Cell missing_cell();

// "1.3903 ± 0.0041", with as many decimals as the second digit of the error needs. "1.3903 ± -" if
// the error is unknown (NaN).
std::string measured_text(double value, double standard_error);

struct Table {
  std::vector<Column> columns;
  std::vector<std::vector<Cell>> rows;

  std::string text() const;
  nlohmann::ordered_json json() const;  // an array of objects
  std::string csv() const;              // RFC 4180, with a head
};

}  // namespace mnm
