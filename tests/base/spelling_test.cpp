#include "base/spelling.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <vector>

namespace mnm {
namespace {

// Optimal string alignment by its recursive definition, in exponential time: the judge.
std::size_t slow_distance(std::string_view a, std::string_view b) {
  if (a.empty() || b.empty()) return a.size() + b.size();
  const std::string_view a1 = a.substr(1), b1 = b.substr(1);
  std::size_t best = std::min({slow_distance(a1, b) + 1, slow_distance(a, b1) + 1,
                               slow_distance(a1, b1) + (a[0] == b[0] ? 0 : 1)});
  if (a.size() > 1 && b.size() > 1 && a[0] == b[1] && a[1] == b[0]) {
    best = std::min(best, slow_distance(a.substr(2), b.substr(2)) + 1);
  }
  return best;
}

TEST(Nearest, DistanceIsThatOfTheDefinition) {
  std::mt19937 random(1);
  const auto word = [&] {
    std::string text(random() % 6, 'a');
    for (char& c : text) c = static_cast<char>('a' + random() % 3);
    return text;
  };
  for (int i = 0; i < 500; ++i) {
    const std::string a = word(), b = word();
    ASSERT_EQ(edit_distance(a, b), slow_distance(a, b)) << a << " " << b;
  }
}

TEST(Nearest, FindsWhatWasMeant) {
  const std::vector<std::string> names = {"uniform", "least-slope", "monotone",
                                          "grid",    "random",      "evolution"};
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"unifrom", "uniform"},
      {"GRID", "grid"},
      {"evolutoin", "evolution"},
      {"mono", "monotone"},
      {"least_slope", "least-slope"},
      {"gird", "grid"},
      {"randm", "random"},
      {"uniform", "uniform"},
      {"", ""},
      {"q", ""},
      {"simulated-annealing", ""},
  };
  for (const auto& [name, meant] : cases) EXPECT_EQ(nearest(name, names), meant) << name;
  EXPECT_EQ(nearest("grid", std::vector<std::string>{}), "");
  EXPECT_EQ(did_you_mean("gird", names), ", did you mean 'grid'?");
  EXPECT_EQ(did_you_mean("qqqq", names), "");
}

TEST(Nearest, TakesTheFirstOfEquallyNear) {
  const std::vector<std::string_view> names = {"abcx", "abcy"};
  EXPECT_EQ(nearest("abcz", names), "abcx");
}

}  // namespace
}  // namespace mnm
