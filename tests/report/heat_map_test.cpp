#include "report/heat_map.h"

#include <gtest/gtest.h>

#include <limits>
#include <regex>
#include <string>
#include <vector>

namespace mnm {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

HeatMap two_layers() {
  HeatMap map;
  map.title = "a <b> & \"c\"";
  map.row_axis = "layer";
  map.column_axis = "width";
  map.rows = {"0", "1"};
  map.columns = {"64", "128", "512"};
  map.cells = {{{0.02, 0.001}},   {{0.01, kNan}}, {{0, 0}},
               {{-0.005, 0.001}}, {{kNan, kNan}}, std::nullopt};
  return map;
}

std::vector<std::string> found(const std::string& text, const std::string& expression) {
  const std::regex wanted(expression);
  std::vector<std::string> all;
  for (std::sregex_iterator i(text.begin(), text.end(), wanted), end; i != end; ++i) {
    all.push_back((*i)[1]);
  }
  return all;
}

TEST(HeatMap, WritesEachValueWithItsErrorAndItsColour) {
  const std::string svg = heat_map_svg(two_layers());
  EXPECT_EQ(found(svg, "class=\"value\"[^>]*>([^<]*)<"),
            (std::vector<std::string>{"0.0200 ± 0.0010", "0.0100", "0.0000 ± 0.0000",
                                      "-0.0050 ± 0.0010", "nan"}));
  EXPECT_EQ(found(svg, "class=\"above\" opacity=\"([0-9.]*)\""),
            (std::vector<std::string>{"0.600", "0.300", "0.000"}));
  EXPECT_EQ(found(svg, "class=\"below\" opacity=\"([0-9.]*)\""),
            (std::vector<std::string>{"0.150"}));
  EXPECT_EQ(found(svg, "class=\"(cell)\"").size(), 6u);
}

TEST(HeatMap, EscapesNames) {
  HeatMap map = two_layers();
  map.rows[0] = "</svg><script>";
  const std::string svg = heat_map_svg(map);
  EXPECT_NE(svg.find("a &lt;b&gt; &amp; &quot;c&quot;"), std::string::npos);
  EXPECT_EQ(svg.find("<script"), std::string::npos);
  EXPECT_EQ(svg.find("</svg>"), svg.size() - 7);
}

TEST(HeatMap, OfNothingIsAPicture) {
  EXPECT_NE(heat_map_svg({}).find("</svg>"), std::string::npos);
  HeatMap map = two_layers();
  for (auto& cell : map.cells) cell = HeatMapCell{0, 0};
  EXPECT_TRUE(found(heat_map_svg(map), "class=\"(above|below)\"").empty());
}

}  // namespace
}  // namespace mnm
