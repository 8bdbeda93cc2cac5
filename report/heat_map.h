// A picture of a table of measured values, such as what each narrowing of each layer loses. Each
// cell has the value with its error, and the colour of its size.
#pragma once

#include <optional>
#include <string>
#include <vector>

namespace mnm {

struct HeatMapCell {
  double value = 0, error = 0;  // an error that is not a number is unknown
};

struct HeatMap {
  std::string title, subtitle;
  std::string row_axis, column_axis;              // "layer", "width"
  std::vector<std::string> rows, columns;         // their names
  std::vector<std::optional<HeatMapCell>> cells;  // [rows * columns]; nothing: not measured
};

// A complete SVG 1.1 document, readable on light and on dark backgrounds. The largest finite value
// has the full colour, 0 has none, and what is below 0 has another. Values that are not finite say
// so. The same input gives the same bytes.
std::string heat_map_svg(const HeatMap& map);

}  // namespace mnm
