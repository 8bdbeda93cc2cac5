#include "report/heat_map.h"

#include <fmt/format.h>

#include <algorithm>
#include <cassert>
#include <cmath>

#include "report/svg.h"

namespace mnm {
namespace {

constexpr double kLeft = 84, kTop = 112, kCellWidth = 124, kCellHeight = 30, kMargin = 28;

constexpr const char* kStyle = R"(<style>
text { font-family: system-ui, -apple-system, "Segoe UI", Helvetica, Arial, sans-serif; fill: #1f2328; }
.ground { fill: #ffffff; stroke: #d1d9e0; }
.title { font-size: 20px; font-weight: 600; }
.quiet { font-size: 13px; fill: #59636e; }
.value { font-size: 12.5px; }
.cell { stroke: #d1d9e0; fill: none; }
.above { fill: #bc4c00; }
.below { fill: #0969da; }
@media (prefers-color-scheme: dark) {
text { fill: #f0f6fc; }
.ground { fill: #0d1117; stroke: #3d444d; }
.quiet { fill: #9198a1; }
.cell { stroke: #3d444d; }
.above { fill: #f0883e; }
.below { fill: #4493f8; }
}
</style>
)";

constexpr double kStrongest = 0.6;  // opacity, on which text can be read

std::string text_at(double x, double y, const char* css, const char* anchor,
                    const std::string& text) {
  return fmt::format(R"(<text x="{:.1f}" y="{:.1f}" class="{}" text-anchor="{}">{}</text>)"
                     "\n",
                     x, y, css, anchor, xml_escaped(text));
}

std::string rectangle(double x, double y, const char* css, double opacity) {
  return fmt::format(
      R"(<rect x="{:.1f}" y="{:.1f}" width="{:.0f}" height="{:.0f}" class="{}" opacity="{:.3f}"/>)"
      "\n",
      x, y, kCellWidth, kCellHeight, css, opacity);
}

std::string text_of(const HeatMapCell& cell) {
  if (std::isnan(cell.error)) return fmt::format("{:.4f}", cell.value);
  return fmt::format("{:.4f} ± {:.4f}", cell.value, cell.error);
}

double largest(const HeatMap& map) {
  double most = 0;
  for (const std::optional<HeatMapCell>& cell : map.cells) {
    if (cell && std::isfinite(cell->value)) most = std::max(most, std::abs(cell->value));
  }
  return most;
}

std::string cells_of(const HeatMap& map) {
  const double most = largest(map);
  std::string out;
  for (std::size_t i = 0; i < map.cells.size(); ++i) {
    const auto row = static_cast<double>(i / map.columns.size());
    const auto column = static_cast<double>(i % map.columns.size());
    const double x = kLeft + column * kCellWidth, y = kTop + row * kCellHeight;
    const std::optional<HeatMapCell>& cell = map.cells[i];
    if (cell && most > 0 && std::isfinite(cell->value)) {
      out += rectangle(x, y, cell->value < 0 ? "below" : "above",
                       kStrongest * std::abs(cell->value) / most);
    }
    out += rectangle(x, y, "cell", 1);
    if (cell) out += text_at(x + kCellWidth / 2, y + 20, "value", "middle", text_of(*cell));
  }
  return out;
}

}  // namespace

std::string heat_map_svg(const HeatMap& map) {
  assert(map.cells.size() == map.rows.size() * map.columns.size());
  const auto rows = static_cast<double>(map.rows.size());
  const auto columns = static_cast<double>(map.columns.size());
  const double width = std::max(640.0, kLeft + columns * kCellWidth + kMargin);
  const double height = kTop + rows * kCellHeight + kMargin;
  std::string out = svg_head(width, height, map.title, kStyle);
  out += text_at(kMargin, 34, "title", "start", map.title);
  out += text_at(kMargin, 56, "quiet", "start", map.subtitle);
  out += text_at(kLeft - 12, kTop - 10, "quiet", "end", map.row_axis);
  out += text_at(kLeft + columns * kCellWidth / 2, kTop - 30, "quiet", "middle", map.column_axis);
  for (std::size_t i = 0; i < map.columns.size(); ++i) {
    out += text_at(kLeft + (static_cast<double>(i) + 0.5) * kCellWidth, kTop - 10, "quiet",
                   "middle", map.columns[i]);
  }
  for (std::size_t i = 0; i < map.rows.size(); ++i) {
    out += text_at(kLeft - 12, kTop + static_cast<double>(i) * kCellHeight + 20, "quiet", "end",
                   map.rows[i]);
  }
  return out + cells_of(map) + "</svg>\n";
}

}  // namespace mnm
