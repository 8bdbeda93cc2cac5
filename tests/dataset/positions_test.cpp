#include "dataset/positions.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>

#include "tests/support/error_of.h"

namespace mnm {
namespace {

TEST(Positions, AShareIsAFractionOfAtMostOne) {
  EXPECT_TRUE(parse_position_share("1").all());
  EXPECT_TRUE(parse_position_share("3/3").all());
  EXPECT_EQ(parse_position_share("2/8").text(), "1/4");
  for (const char* text : {"", "0", "2", "5/4", "1/0", "-1/4", "1/-4", "1/4x", "/", "1/", "/4",
                           "0.25", "1/1000000", "99999999999999999999/99999999999999999999"}) {
    EXPECT_NE(test::usage_error_of([&] { parse_position_share(text); }), "") << text;
  }
  struct Case {
    const char* share;
    std::int64_t context, count;
  };
  for (const Case& c : {Case{"1/4", 256, 64},
                        {"1/4", 7, 1},
                        {"1/4", 1, 1},
                        {"3/4", 7, 5},
                        {"1/300", 256, 1},
                        {"999998/999999", 1'000'000'000'000, 999'998'999'998}}) {
    EXPECT_EQ(parse_position_share(c.share).of(c.context), c.count) << c.share;
  }
}

TEST(Positions, AreDrawnAlikeEverywhereAndEachAsOftenAsAnyOther) {
  PositionShare share = parse_position_share("1/4");
  constexpr std::int64_t kContext = 32, kSequences = 4000;
  std::vector<double> counts(kContext, 0);
  std::vector<std::int32_t> last;
  for (std::int64_t s = 0; s < kSequences; ++s) {
    const std::vector<std::int32_t> positions = draw_positions(share, kContext, s);
    ASSERT_EQ(positions.size(), 8u);
    EXPECT_TRUE(std::ranges::adjacent_find(positions, std::greater_equal<>()) == positions.end());
    EXPECT_TRUE(positions.front() >= 0 && positions.back() < kContext);
    EXPECT_NE(positions, last);
    EXPECT_EQ(positions, draw_positions(share, kContext, s));
    for (const std::int32_t t : positions) counts[static_cast<std::size_t>(t)] += 1;
    last = positions;
  }
  // Binomial with probability 1/4: five standard deviations.
  for (const double count : counts) {
    EXPECT_NEAR(count, kSequences / 4.0, 5 * std::sqrt(kSequences * 0.25 * 0.75));
  }
  share.seed = 1;
  EXPECT_NE(last, draw_positions(share, kContext, kSequences - 1));
  // What stores hold was scored on these.
  EXPECT_EQ(draw_positions(parse_position_share("1/4"), 16, 3),
            (std::vector<std::int32_t>{4, 5, 7, 8}));
  EXPECT_EQ(draw_positions({}, 3, 0), (std::vector<std::int32_t>{0, 1, 2}));
}

}  // namespace
}  // namespace mnm
