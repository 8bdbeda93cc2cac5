// The picture of a front: every scored submodel, the front, and the uniform submodels at the
// trained granularities, which the others are compared with. Beside them the thresholds of a
// cascade, if there is one.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace mnm {

struct PlotPoint {
  double cost = 0;
  double loss = 0;
  std::string label;  // of a uniform submodel; also the title on hovering
};

struct FrontPlot {
  std::string title, subtitle;
  std::string cost_axis;                                // "parameters"
  std::string loss_axis;                                // "loss, nats per token"
  std::vector<PlotPoint> all, front, uniform;           // the front by ascending cost
  std::vector<PlotPoint> cascade;                       // of each threshold, by ascending cost
  std::vector<std::pair<double, std::string>> budgets;  // vertical lines on the cost axis
};

// A complete SVG 1.1 document, readable on light and on dark backgrounds. Points that are not
// finite are left out. The same input gives the same bytes. The document has a largest size,
// however many points there are.
std::string front_svg(const FrontPlot& plot);

// What a picture of this program begins with: the root element, `style`, which is a whole <style>
// element, and the ground.
std::string svg_head(double width, double height, const std::string& title, const char* style);

// Whether a text begins with such a head.
bool is_own_svg(std::string_view text);

// Text as the content of an element or an attribute: its markup and control characters are no
// longer that.
std::string xml_escaped(const std::string& text);

// Round numbers inside [low, high] that divide it into about `count` steps, ascending.
std::vector<double> axis_ticks(double low, double high, int count);

}  // namespace mnm
