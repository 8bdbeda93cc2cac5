#include "model/shapes.h"

#include <gtest/gtest.h>

#include <limits>
#include <vector>

#include "tests/support/error_of.h"

namespace mnm {
namespace {

using Shape = std::vector<std::int64_t>;
constexpr std::int64_t kMax = std::numeric_limits<std::int64_t>::max();

TEST(Shapes, CountsElements) {
  const std::vector<std::pair<Shape, std::int64_t>> cases = {
      {{}, 1},
      {{0}, 0},
      {{7}, 7},
      {{2, 3, 5}, 30},
      {{kMax}, kMax},
      {{1, kMax, 1}, kMax},
      {{kMax, kMax, 0}, 0},
      {{0, kMax, kMax}, 0},
  };
  for (const auto& [shape, count] : cases) {
    EXPECT_EQ(try_element_count(shape), count) << shape_text(shape);
    EXPECT_EQ(element_count(shape), count) << shape_text(shape);
  }
}

TEST(Shapes, RefusesWhatHasNoCount) {
  for (const Shape& shape : {Shape{-1},
                             {-1, -1},
                             {-1, 0},
                             {kMax, 2},
                             {std::int64_t{1} << 32, std::int64_t{1} << 31},
                             {kMax, kMax, kMax}}) {
    EXPECT_FALSE(try_element_count(shape)) << shape_text(shape);
    EXPECT_TRUE(test::contains(test::error_of([&] { element_count(shape); }), shape_text(shape)));
  }
}

TEST(Shapes, SumsAndProductsAreChecked) {
  EXPECT_EQ(checked_add(kMax - 1, 1), kMax);
  EXPECT_EQ(checked_mul(kMax / 2, 2), kMax - 1);
  EXPECT_THROW(checked_add(kMax, 1), Error);
  EXPECT_THROW(checked_mul(kMax / 2 + 1, 2), Error);
}

TEST(Shapes, Text) {
  EXPECT_EQ(shape_text(Shape{}), "[]");
  EXPECT_EQ(shape_text(Shape{512, 128}), "[512, 128]");
}

}  // namespace
}  // namespace mnm
