#include "report/svg.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>

#include "base/quantity.h"
#include "model/cost.h"
#include "report/escape.h"

namespace mnm {
namespace {

constexpr double kWidth = 960, kHeight = 600;
constexpr double kLeft = 84, kRight = 928, kTop = 108, kBottom = 532;
constexpr std::string_view kRoot = "<svg xmlns=\"http://www.w3.org/2000/svg\"";
constexpr std::string_view kGround = "class=\"ground\"/>";
constexpr double kCell = 2;  // points closer than this are drawn once

constexpr const char* kStyle = R"(<style>
text { font-family: system-ui, -apple-system, "Segoe UI", Helvetica, Arial, sans-serif; fill: #1f2328; }
.ground { fill: #ffffff; stroke: #d1d9e0; }
.title { font-size: 20px; font-weight: 600; }
.quiet { font-size: 13px; fill: #59636e; }
.tick { font-size: 12px; fill: #59636e; }
.name { font-size: 12.5px; paint-order: stroke; stroke: #ffffff; stroke-width: 4px; stroke-linejoin: round; }
.grid { stroke: #d1d9e0; stroke-width: 1; opacity: 0.6; }
.axis { stroke: #59636e; stroke-width: 1; }
.budget { stroke: #9a6700; stroke-width: 1.2; stroke-dasharray: 5 4; }
.all { stroke: #8c959f; stroke-linecap: round; fill: none; opacity: 0.55; }
.line { stroke: #0969da; stroke-width: 2; fill: none; stroke-linejoin: round; }
.front { fill: #0969da; stroke: #ffffff; stroke-width: 1; }
.uniform { fill: #bc4c00; stroke: #ffffff; stroke-width: 1.2; }
.cascade { fill: #1a7f37; stroke: #ffffff; stroke-width: 1; }
.steps { stroke: #1a7f37; stroke-width: 1.5; fill: none; stroke-linejoin: round; }
@media (prefers-color-scheme: dark) {
text { fill: #f0f6fc; }
.ground { fill: #0d1117; stroke: #3d444d; }
.quiet, .tick { fill: #9198a1; }
.name { stroke: #0d1117; }
.grid { stroke: #3d444d; }
.axis { stroke: #9198a1; }
.budget { stroke: #d29922; }
.all { stroke: #848d97; }
.line { stroke: #4493f8; }
.front { fill: #4493f8; stroke: #0d1117; }
.uniform { fill: #f0883e; stroke: #0d1117; }
.cascade { fill: #3fb950; stroke: #0d1117; }
.steps { stroke: #3fb950; }
}
</style>
)";

bool finite(const PlotPoint& point) {
  return std::isfinite(point.cost) && std::isfinite(point.loss);
}

struct Axis {
  double low = 0, high = 1;  // values
  double from = 0, to = 1;   // pixels
  double at(double value) const { return from + (value - low) / (high - low) * (to - from); }
};

// Covers every finite value with a little room; one value alone gets room too.
Axis axis_over(const std::vector<double>& values, double from, double to) {
  Axis axis{0, 1, from, to};
  if (!values.empty()) {
    const auto [least, most] = std::minmax_element(values.begin(), values.end());
    double room = 0.04 * (*most - *least);
    if (room == 0) room = *least == 0 ? 1 : 0.05 * std::abs(*least);
    axis.low = *least - room;
    axis.high = *most + room;
  }
  return axis;
}

std::string text_at(double x, double y, const char* css, const char* anchor,
                    const std::string& text) {
  return fmt::format(R"(<text x="{:.1f}" y="{:.1f}" class="{}" text-anchor="{}">{}</text>)"
                     "\n",
                     x, y, css, anchor, xml_escaped(text));
}

std::string line_at(double x1, double y1, double x2, double y2, const char* css) {
  return fmt::format(R"(<line x1="{:.1f}" y1="{:.1f}" x2="{:.1f}" y2="{:.1f}" class="{}"/>)"
                     "\n",
                     x1, y1, x2, y2, css);
}

std::string circle_at(double x, double y, const std::string& title) {
  return fmt::format(
      R"(<circle cx="{:.1f}" cy="{:.1f}" r="4" class="front"><title>{}</title></circle>)"
      "\n",
      x, y, xml_escaped(title));
}

std::string diamond_at(double x, double y, const std::string& title) {
  return fmt::format(
      R"(<path d="M{:.1f} {:.1f}l7 7l-7 7l-7-7z" class="uniform"><title>{}</title></path>)"
      "\n",
      x, y - 7, xml_escaped(title));
}

std::string square_at(double x, double y, const std::string& title) {
  return fmt::format(R"(<path d="M{:.1f} {:.1f}h7v7h-7z" class="cascade"><title>{}</title></path>)"
                     "\n",
                     x - 3.5, y - 3.5, xml_escaped(title));
}

class Drawing {
 public:
  explicit Drawing(const FrontPlot& plot) : plot_(plot) {
    std::vector<double> costs, losses;
    for (const auto* points : {&plot.all, &plot.front, &plot.uniform, &plot.cascade}) {
      for (const PlotPoint& point : *points) {
        if (!finite(point)) continue;
        costs.push_back(point.cost);
        losses.push_back(point.loss);
      }
    }
    for (const auto& [cost, text] : plot.budgets) costs.push_back(cost);
    x_ = axis_over(costs, kLeft, kRight);
    y_ = axis_over(losses, kBottom, kTop);
    y_.low -= 0.05 * (y_.high - y_.low);  // for the name of the lowest one
  }

  std::string svg() const {
    std::string out = svg_head(kWidth, kHeight, plot_.title, kStyle);
    out += text_at(kLeft - 56, 34, "title", "start", plot_.title);
    out += text_at(kLeft - 56, 56, "quiet", "start", plot_.subtitle);
    out += axes();
    out += cloud();
    for (const auto& [cost, text] : plot_.budgets) {
      out += line_at(x_.at(cost), kTop, x_.at(cost), kBottom, "budget");
      out += text_at(x_.at(cost) - 6, kBottom - 8, "name", "end", text);
    }
    out += front();
    out += cascade();
    out += uniform();
    out += legend();
    return out + "</svg>\n";
  }

 private:
  std::string axes() const {
    std::string out;
    for (const double value : axis_ticks(x_.low, x_.high, 8)) {
      out += line_at(x_.at(value), kTop, x_.at(value), kBottom, "grid");
      out += text_at(x_.at(value), kBottom + 20, "tick", "middle", quantity(value));
    }
    const std::vector<double> ticks = axis_ticks(y_.low, y_.high, 7);
    const double step = ticks.size() > 1 ? ticks[1] - ticks[0] : 1;
    const int decimals = std::clamp(-static_cast<int>(std::floor(std::log10(step) + 1e-9)), 0, 9);
    for (const double value : ticks) {
      out += line_at(kLeft, y_.at(value), kRight, y_.at(value), "grid");
      out += text_at(kLeft - 8, y_.at(value) + 4, "tick", "end",
                     fmt::format("{:.{}f}", value, decimals));
    }
    out += line_at(kLeft, kBottom, kRight, kBottom, "axis");
    out += line_at(kLeft, kTop, kLeft, kBottom, "axis");
    out += text_at((kLeft + kRight) / 2, kBottom + 46, "quiet", "middle", plot_.cost_axis);
    const double middle = (kTop + kBottom) / 2;
    out += fmt::format(
        R"svg(<text x="24" y="{0:.1f}" class="quiet" text-anchor="middle" transform="rotate(-90 24 {0:.1f})">{1}</text>)svg"
        "\n",
        middle, xml_escaped(plot_.loss_axis));
    return out;
  }

  // All points as one path of dots, each cell of the picture at most once.
  std::string cloud() const {
    std::set<std::pair<int, int>> cells;
    for (const PlotPoint& point : plot_.all) {
      if (!finite(point)) continue;
      cells.emplace(static_cast<int>(std::lround(x_.at(point.cost) / kCell)),
                    static_cast<int>(std::lround(y_.at(point.loss) / kCell)));
    }
    if (cells.empty()) return "";
    std::string path;
    for (const auto& [x, y] : cells) path += fmt::format("M{} {}h0", x * kCell, y * kCell);
    // Few points are drawn larger than a cloud of them.
    const double size = cells.size() < 1000 ? 5 : cells.size() < 5000 ? 3.6 : 2.6;
    return fmt::format("<path d=\"{}\" class=\"all\" style=\"stroke-width:{}\"/>\n", path, size);
  }

  // What a budget buys: the loss stays until the next member is affordable.
  std::string front() const {
    std::string path, dots;
    double last = 0;
    for (const PlotPoint& point : plot_.front) {
      if (!finite(point)) continue;
      const double x = x_.at(point.cost), y = y_.at(point.loss);
      path += path.empty() ? fmt::format("M{:.1f} {:.1f}", x, y)
                           : fmt::format("L{:.1f} {:.1f}L{:.1f} {:.1f}", x, last, x, y);
      last = y;
      dots += circle_at(x, y, point.label);
    }
    if (path.empty()) return "";
    return fmt::format("<path d=\"{}\" class=\"line\"/>\n{}", path, dots);
  }

  // From threshold to threshold. Whoever chooses between two thresholds at random gets a point of
  // the line between them.
  std::string cascade() const {
    std::string path, squares;
    for (const PlotPoint& point : plot_.cascade) {
      if (!finite(point)) continue;
      const double x = x_.at(point.cost), y = y_.at(point.loss);
      path += fmt::format("{}{:.1f} {:.1f}", path.empty() ? "M" : "L", x, y);
      squares += square_at(x, y, point.label);
    }
    if (path.empty()) return "";
    return fmt::format("<path d=\"{}\" class=\"steps\"/>\n{}", path, squares);
  }

  bool beaten(const PlotPoint& point) const {
    return std::ranges::any_of(plot_.front, [&](const PlotPoint& member) {
      return member.cost <= point.cost && member.loss <= point.loss &&
             (member.cost < point.cost || member.loss < point.loss);
    });
  }

  std::string uniform() const {
    std::string out;
    for (const PlotPoint& point : plot_.uniform) {
      if (!finite(point)) continue;
      const double x = x_.at(point.cost), y = y_.at(point.loss);
      out += diamond_at(x, y, point.label);
      // Cheaper and better than a member of the front is nothing: its name lies there, below it. Of
      // what is beaten, or has no room there, above it: no member both costs and loses more.
      const bool below = !beaten(point) && x > kLeft + 120;
      const bool left = below || x > kRight - 120;
      out += text_at(left ? x - 7 : x + 9, below ? y + 19 : y - 9, "name", left ? "end" : "start",
                     point.label);
    }
    return out;
  }

  std::string legend() const {
    std::string out;
    double x = kLeft - 48;
    const double y = 80;
    const auto entry = [&](const std::string& mark, const std::string& text) {
      out += mark + text_at(x + 14, y + 4, "quiet", "start", text);
      x += 14 + 7.2 * static_cast<double>(text.size()) + 26;
    };
    if (!plot_.all.empty()) {
      entry(fmt::format("<path d=\"M{:.1f} {:.1f}h0\" class=\"all\" style=\"stroke-width:7\"/>\n",
                        x, y),
            fmt::format("all scored ({})", plot_.all.size()));
    }
    if (!plot_.front.empty()) {
      entry(circle_at(x, y, "the front"), fmt::format("front ({})", plot_.front.size()));
    }
    if (!plot_.cascade.empty()) {
      entry(square_at(x, y, "the cascade"),
            fmt::format("cascade by threshold ({})", plot_.cascade.size()));
    }
    if (!plot_.uniform.empty()) {
      entry(diamond_at(x, y, "trained granularities"), "trained granularities, all layers alike");
    }
    return out;
  }

  const FrontPlot& plot_;
  Axis x_, y_;
};

}  // namespace

std::string xml_escaped(const std::string& text) {
  std::string out;
  for (const char c : printable(text, "\n\t")) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      default:
        out += static_cast<unsigned char>(c) < 0x20 ? ' ' : c;
    }
  }
  return out;
}

std::vector<double> axis_ticks(double low, double high, int count) {
  const double rough = (high - low) / count;
  if (!(rough > 0) || !std::isfinite(rough)) return {low};
  const double power = std::pow(10, std::floor(std::log10(rough)));
  double step = 10 * power;
  for (const double factor : {1.0, 2.0, 5.0}) {
    if (factor * power >= rough) {
      step = factor * power;
      break;
    }
  }
  std::vector<double> ticks;
  for (double k = std::ceil(low / step); k * step <= high; ++k) ticks.push_back(k * step);
  return ticks;
}

std::string svg_head(double width, double height, const std::string& title, const char* style) {
  return fmt::format(R"({0} width="{1:.0f}" height="{2:.0f}" viewBox="0 0 {1:.0f} {2:.0f}" )"
                     R"(role="img" aria-label="{3}">)"
                     "\n{4}"
                     R"(<rect x="0.5" y="0.5" width="{5:.0f}" height="{6:.0f}" rx="8" {7})"
                     "\n",
                     kRoot, width, height, xml_escaped(title), style, width - 1, height - 1,
                     kGround);
}

bool is_own_svg(std::string_view text) {
  return text.starts_with(kRoot) && text.find(kGround) != std::string_view::npos;
}

std::string front_svg(const FrontPlot& plot) { return Drawing(plot).svg(); }

}  // namespace mnm
