#include "image/preparation.h"

#include <gtest/gtest.h>

#include <limits>
#include <string>

#include "tests/support/error_of.h"

namespace mnm {
namespace {

using test::contains;
using test::error_of;

constexpr std::int64_t kHighest = std::numeric_limits<std::int64_t>::max();

TEST(Exceeds, HoldsForAnySides) {
  EXPECT_FALSE(exceeds({3, 4}, 12));
  EXPECT_TRUE(exceeds({3, 4}, 11));
  EXPECT_TRUE(exceeds({kHighest, kHighest}, kMaxPixels));
  for (const Extent& extent : {Extent{0, 4}, Extent{4, 0}, Extent{-1, -1}, Extent{-kHighest, 2}}) {
    EXPECT_TRUE(exceeds(extent, kMaxPixels)) << extent.height;
  }
}

TEST(Preparation, SidesThatCannotBeAreRefusedBeforeAnyWork) {
  const Image image = blank_image({2, 3}, 3);
  const auto error = [&](const Preparation& preparation, std::int64_t max_pixels) {
    const std::string early = error_of([&] { check(preparation, max_pixels); });
    EXPECT_EQ(error_of([&] { prepare(image, preparation, "it", max_pixels); }), early);
    return early;
  };
  Preparation preparation;
  preparation.size = {-1, -1};  // not used where sizes are kept
  EXPECT_EQ(error(preparation, kMaxPixels), "");
  for (const Fit fit : {Fit::kShortest, Fit::kSquash}) {
    preparation.fit = fit;
    for (const std::int64_t side :
         {std::int64_t{0}, std::int64_t{-1}, std::numeric_limits<std::int64_t>::min(),
          kLargestSide + 1, kHighest}) {
      preparation.size = {side, side};
      EXPECT_TRUE(contains(error(preparation, kHighest), "cannot resize images to")) << side;
    }
    preparation.size = {20, 20};
    EXPECT_TRUE(contains(error(preparation, 399), "at most 399 in all"));
  }
  preparation = {};
  preparation.crop = Extent{20, 21};
  EXPECT_TRUE(contains(error(preparation, 419), "cannot crop images to 21 x 20 pixels"));
  EXPECT_EQ(error(preparation, 420), "");
  preparation.crop = Extent{kLargestSide + 1, 1};
  EXPECT_NE(error(preparation, kMaxPixels), "");
}

TEST(Preparation, APictureThatGrowsTooLargeIsRefused) {
  Preparation preparation;
  preparation.fit = Fit::kShortest;
  preparation.size = {4000, 4000};
  preparation.crop = Extent{8, 8};
  const std::string grown = error_of([&] {
    prepare(blank_image({1, 60000}, 1), preparation, "a.png");
  });
  EXPECT_TRUE(contains(grown, "cannot resize a.png")) << grown;
}

}  // namespace
}  // namespace mnm
