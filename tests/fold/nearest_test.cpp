// The search by blocks against one by comparison of all pairs in f64.
#include "fold/nearest.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>
#include <vector>

#include "tests/support/error_of.h"

namespace mnm {
namespace {

Features random_features(std::int64_t count, std::int64_t d, std::int64_t classes) {
  const at::Tensor vectors = at::randn({count, d});
  Features features{d, {}, {}};
  features.vectors.assign(vectors.const_data_ptr<float>(),
                          vectors.const_data_ptr<float>() + count * d);
  for (std::int64_t i = 0; i < count; ++i) features.labels.push_back(i * 7 % classes);
  return features;
}

// All items of a query, the nearest first, and of equally near ones the lowest number.
std::vector<std::int32_t> plainly(const Features& features, Distance distance, const float* query,
                                  std::int64_t depth) {
  std::vector<std::pair<double, std::int32_t>> all;
  for (std::int64_t i = 0; i < features.count(); ++i) {
    double product = 0, square = 0, apart = 0;
    for (std::int64_t k = 0; k < features.dimension; ++k) {
      const double x = features.vectors[static_cast<std::size_t>(i * features.dimension + k)];
      product += query[k] * x;
      square += x * x;
      apart += (query[k] - x) * (query[k] - x);
    }
    all.emplace_back(distance == Distance::kL2 ? apart : -product / std::sqrt(square),
                     static_cast<std::int32_t>(i));
  }
  std::ranges::sort(all);
  std::vector<std::int32_t> ids;
  for (std::int64_t i = 0; i < depth; ++i) ids.push_back(all[static_cast<std::size_t>(i)].second);
  return ids;
}

// Sizes that fill blocks and that do not, one item, as many as are looked at.
TEST(Nearest, FindsWhatAComparisonOfAllPairsFinds) {
  struct Case {
    std::int64_t count, d, queries, depth;
  };
  at::manual_seed(1);
  for (const Case& c : {Case{5000, 16, 300, 10}, Case{2048, 3, 256, 1}, Case{1, 4, 2, 1},
                        Case{7, 1, 5, 7}, Case{2049, 8, 1, 100}}) {
    for (const Distance distance : {Distance::kCosine, Distance::kL2}) {
      const Features features = random_features(c.count, c.d, 5);
      const FeatureDatabase database(features, distance, c.depth);
      const at::Tensor queries = at::randn({c.queries, c.d});
      const at::Tensor found = nearest_items({database, at::kCPU}, queries);
      ASSERT_EQ(found.sizes(), at::IntArrayRef({c.queries, c.depth}));
      std::int64_t differ = 0;
      for (std::int64_t row = 0; row < c.queries; ++row) {
        const std::int32_t* const ids = found.const_data_ptr<std::int32_t>() + row * c.depth;
        const auto expected =
            plainly(features, distance, queries.const_data_ptr<float>() + row * c.d, c.depth);
        differ += !std::equal(expected.begin(), expected.end(), ids);
      }
      // With one number, vectors of one sign tie by their angle and part by f32's rounding.
      if (c.d > 1 || distance == Distance::kL2) {
        EXPECT_EQ(differ, 0) << c.count << " x " << c.d;
      }
    }
  }
}

TEST(Nearest, OfEqualOnesTheLowestNumberIsTheNearest) {
  at::manual_seed(2);
  Features features = random_features(4000, 12, 9);
  // Copies of one vector in different blocks and places.
  for (const std::size_t copy : {90u, 2047u, 2048u, 3999u}) {
    std::copy_n(features.vectors.begin() + 12 * 31, 12,
                features.vectors.begin() + static_cast<std::ptrdiff_t>(12 * copy));
  }
  at::Tensor query = at::from_blob(features.vectors.data() + 12 * 31, {1, 12}, at::kFloat).clone();
  for (const Distance distance : {Distance::kCosine, Distance::kL2}) {
    const FeatureDatabase database(features, distance, 5);
    const at::Tensor found = nearest_items({database, at::kCPU}, query.expand({3, 12}));
    for (std::int64_t row = 0; row < 3; ++row) {
      const std::int32_t* const ids = found.const_data_ptr<std::int32_t>() + 5 * row;
      EXPECT_EQ((std::vector<std::int32_t>(ids, ids + 5)),
                (std::vector<std::int32_t>{31, 90, 2047, 2048, 3999}));
    }
  }
}

TEST(Nearest, AQueryThatIsNoNumberFindsNothing) {
  const FeatureDatabase database(random_features(40, 4, 3), Distance::kCosine, 3);
  at::Tensor queries = at::randn({3, 4});
  queries[1][2] = std::numeric_limits<float>::quiet_NaN();
  const at::Tensor values = at::empty({4, 3}, at::kFloat);
  retrieval_into({database, at::kCPU}, queries, at::zeros({3}, at::kLong), values);
  const at::Tensor nan = values.isnan();
  for (std::int64_t row = 0; row < 4; ++row) {
    EXPECT_FALSE(nan[row][0].item<bool>());
    EXPECT_TRUE(nan[row][1].item<bool>());
    EXPECT_FALSE(nan[row][2].item<bool>());
  }
  EXPECT_TRUE(test::contains(test::error_of([&] {
                               nearest_items({database, at::kCPU}, at::zeros({1, 5}));
                             }),
                             "features of 5 numbers in a database of 4"));
}

}  // namespace
}  // namespace mnm
