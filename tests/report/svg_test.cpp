#include "report/svg.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <regex>
#include <string>
#include <vector>

namespace mnm {
namespace {

// Names come from files: what turns the order of writing is shown as on a terminal.
TEST(Svg, NamesShowWhatIsInvisible) {
  EXPECT_EQ(xml_escaped("a\u202eb<\xc2\x9b>\n"), "a\\xe2\\x80\\xaeb&lt;\\xc2\\x9b&gt; ");
}

// Enough of XML to refuse what browsers refuse: tags nest and close, attributes are quoted, text
// has no bare '<' or '&', nothing follows the root.
class XmlChecker {
 public:
  explicit XmlChecker(const std::string& text) : text_(text) {}
  std::string problem() {
    while (at_ < text_.size()) {
      if (text_[at_] == '<') {
        if (!tag()) return "bad tag near: " + text_.substr(at_, 60);
      } else if (text_[at_] == '&') {
        if (!entity()) return "bad entity near: " + text_.substr(at_, 20);
      } else if (open_.empty() && std::isspace(static_cast<unsigned char>(text_[at_])) == 0) {
        return "text outside the root: " + text_.substr(at_, 20);
      } else {
        ++at_;
      }
    }
    if (!open_.empty()) return "never closed: " + open_.back();
    return roots_ == 1 ? "" : "not one root";
  }

 private:
  bool entity() {
    for (const char* known : {"&amp;", "&lt;", "&gt;", "&quot;"}) {
      if (text_.compare(at_, std::strlen(known), known) == 0) {
        at_ += std::strlen(known);
        return true;
      }
    }
    return false;
  }
  std::string name() {
    std::size_t end = at_;
    while (end < text_.size() && (std::isalnum(static_cast<unsigned char>(text_[end])) != 0 ||
                                  text_[end] == '-' || text_[end] == ':')) {
      ++end;
    }
    const std::string found = text_.substr(at_, end - at_);
    at_ = end;
    return found;
  }
  bool tag() {
    ++at_;
    if (text_[at_] == '/') {
      ++at_;
      if (open_.empty() || name() != open_.back() || text_[at_] != '>') return false;
      open_.pop_back();
      ++at_;
      return true;
    }
    const std::string tag_name = name();
    if (tag_name.empty()) return false;
    while (true) {
      const bool space = text_[at_] == ' ';
      while (text_[at_] == ' ') ++at_;
      if (text_[at_] == '>' || text_.compare(at_, 2, "/>") == 0) break;
      if (!space || name().empty() || text_[at_++] != '=' || text_[at_++] != '"') return false;
      while (at_ < text_.size() && text_[at_] != '"') {
        if (text_[at_] == '<') return false;
        if (text_[at_] == '&') {
          if (!entity()) return false;
        } else {
          ++at_;
        }
      }
      ++at_;
    }
    if (open_.empty()) ++roots_;
    if (text_[at_] == '>') {
      open_.push_back(tag_name);
      ++at_;
    } else {
      at_ += 2;
    }
    return true;
  }

  const std::string& text_;
  std::size_t at_ = 0;
  std::vector<std::string> open_;
  int roots_ = 0;
};

FrontPlot sample() {
  FrontPlot plot;
  plot.title = "a <b> & \"c\" \x01";
  plot.cost_axis = "parameters";
  plot.loss_axis = "loss, nats per token";
  plot.all = {{1e6, 1.5, ""}, {2e6, 1.4, ""}, {1.5e6, 1.45, ""}};
  plot.front = {{1e6, 1.5, "64x8 <&>"}, {2e6, 1.4, "512x8"}};
  plot.uniform = {{1e6, 1.5, "uniform 64"}, {2e6, 1.4, "uniform 512"}};
  plot.budgets = {{1.2e6, "budget 1.2M"}};
  return plot;
}

TEST(Svg, CheckerRefusesWhatIsNotWellFormed) {
  for (const char* bad : {"<a>", "<a></b>", "<a b=c/>", "<a>&</a>", "<a/><a/>", "<a/>x",
                          "<a b=\"<\"/>", "<a b=\"1\"c=\"2\"/>"}) {
    EXPECT_NE(XmlChecker(bad).problem(), "") << bad;
  }
  EXPECT_EQ(XmlChecker("<a b=\"1\"><c/>x &amp; y</a>\n").problem(), "");
}

TEST(Svg, IsWellFormedWhateverThereIsToDraw) {
  FrontPlot empty;
  FrontPlot one;
  one.all = one.front = {{5, 5, "x"}};
  FrontPlot equal;
  equal.all = {{1, 2, ""}, {1, 2, ""}};
  FrontPlot zero;
  zero.all = zero.uniform = {{0, 0, "zero"}};
  FrontPlot failed;
  failed.all = {{1, std::nan(""), ""}, {std::numeric_limits<double>::infinity(), 1, ""}};
  for (const FrontPlot& plot : {sample(), empty, one, equal, zero, failed}) {
    const std::string svg = front_svg(plot);
    EXPECT_EQ(XmlChecker(svg).problem(), "") << svg;
    EXPECT_EQ(svg.find("nan"), std::string::npos) << svg;
    EXPECT_EQ(svg.find("inf"), std::string::npos) << svg;
  }
}

// The baseline of a name, in pixels, less that of the point it names.
double name_below_point(const std::string& svg, const std::string& name) {
  std::smatch point, text;
  const std::string number = "([0-9.]+)";
  EXPECT_TRUE(std::regex_search(
      svg, point, std::regex("M[0-9.]+ " + number + "l7 7[^>]*><title>" + name + "</title>")));
  EXPECT_TRUE(
      std::regex_search(svg, text, std::regex("y=\"" + number + "\"[^>]*>" + name + "</text>")));
  return std::stod(text[1]) - (std::stod(point[1]) + 7);  // a diamond's path begins 7 above it
}

TEST(Svg, NamesLieOffTheFront) {
  FrontPlot plot;
  plot.front = {{1, 4, ""}, {2, 3, ""}, {3, 2, ""}, {5, 1, ""}};
  plot.uniform = {{1, 4, "narrowest"}, {3, 2, "member"}, {4, 3, "beaten"}, {5, 1, "widest"}};
  const std::string svg = front_svg(plot);
  EXPECT_GT(name_below_point(svg, "member"), 0);
  EXPECT_GT(name_below_point(svg, "widest"), 0);
  EXPECT_LT(name_below_point(svg, "beaten"), 0);
  EXPECT_LT(name_below_point(svg, "narrowest"), 0);  // left of it is the axis
}

TEST(Svg, ShowsAxesLegendFrontAndUniformOnes) {
  const std::string svg = front_svg(sample());
  for (const char* part :
       {"parameters", "loss, nats per token", "front (2)", "all scored (3)", "uniform 512",
        "budget 1.2M", "64x8 &lt;&amp;&gt;", "1.2M", "prefers-color-scheme: dark"}) {
    EXPECT_NE(svg.find(part), std::string::npos) << part;
  }
  EXPECT_EQ(front_svg(sample()), svg);
}

TEST(Svg, ACascadeLiesBesideTheFrontAndInsideTheAxes) {
  FrontPlot plot = sample();
  EXPECT_EQ(front_svg(plot).find("class=\"steps\""), std::string::npos);
  plot.cascade = {
      {5e5, 1.6, "all narrow <"}, {3e6, std::nan(""), "failed"}, {4e6, 1.3, "all wide"}};
  const std::string svg = front_svg(plot);
  EXPECT_EQ(XmlChecker(svg).problem(), "") << svg;
  for (const char* part : {"cascade by threshold (3)", "all narrow &lt;", "all wide", "4M"}) {
    EXPECT_NE(svg.find(part), std::string::npos) << part;
  }
  EXPECT_EQ(svg.find("failed"), std::string::npos) << "what is not finite is left out";
  std::smatch steps;
  ASSERT_TRUE(std::regex_search(
      svg, steps, std::regex("d=\"M([0-9.]+) [0-9.]+L([0-9.]+) [0-9.]+\" class=\"steps\"")));
  EXPECT_LT(std::stod(steps[1]), std::stod(steps[2]));
  EXPECT_GE(std::stod(steps[1]), 84) << "the left axis";
  EXPECT_LE(std::stod(steps[2]), 928) << "the right end";
}

TEST(Svg, StaysSmallHoweverManyPointsThereAre) {
  FrontPlot plot;
  std::mt19937 random(1);
  for (int i = 0; i < 300000; ++i) {
    plot.all.push_back({static_cast<double>(random()), static_cast<double>(random()), ""});
  }
  EXPECT_LT(front_svg(plot).size(), 2u << 20);
}

TEST(AxisTicks, AreRoundAscendingAndInside) {
  const struct {
    double low, high;
  } kRanges[] = {{0, 1}, {1.37, 1.49}, {-5, 5}, {1e6, 2.3e6}, {0.001, 0.0011}, {1e12, 1e12 + 7}};
  for (const auto& range : kRanges) {
    const std::vector<double> ticks = axis_ticks(range.low, range.high, 7);
    ASSERT_GE(ticks.size(), 3u);
    ASSERT_LE(ticks.size(), 15u);
    EXPECT_TRUE(std::is_sorted(ticks.begin(), ticks.end()));
    EXPECT_GE(ticks.front(), range.low);
    EXPECT_LE(ticks.back(), range.high);
  }
  EXPECT_EQ(axis_ticks(0, 1, 5), (std::vector<double>{0, 0.2, 0.4, 0.6000000000000001, 0.8, 1}));
  EXPECT_EQ(axis_ticks(3, 3, 5), (std::vector<double>{3}));
}

}  // namespace
}  // namespace mnm
