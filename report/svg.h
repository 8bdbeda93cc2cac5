// The picture of a front: every scored submodel, the front, and the uniform granularities, which
// are the submodels that were trained: the anchors of all others.
#pragma once

#include <span>
#include <string>
#include <vector>

namespace mnm {

struct PlotPoint {
  double cost = 0;
  double loss = 0;
  std::string label;  // of a uniform granularity, and a title on hovering
};

struct FrontPlot {
  std::string title, subtitle;
  std::string cost_axis;                                // "parameters"
  std::string loss_axis;                                // "loss, nats per token"
  std::vector<PlotPoint> all, front, uniform;           // the front by ascending cost
  std::vector<std::pair<double, std::string>> budgets;  // vertical lines on the cost axis
};

// A complete SVG 1.1 document, readable on light and on dark ground. Points that are not finite are
// left out. Same input, same bytes; its size is bounded however many points there are.
std::string front_svg(const FrontPlot& plot);

// Round numbers that part [low, high] into about `count` steps, ascending, all inside.
std::vector<double> axis_ticks(double low, double high, int count);

}  // namespace mnm
