#include "eval/retrieval_scores.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

namespace mnm {
namespace {

Features five() { return {2, {3, 4, 0, 2, -1, 0, 6, 8, 1, 1}, {0, 1, 1, 0, 2}}; }

// By hand: of the five nearest, the classes 0, 1, 1, 0, 2.
TEST(RetrievalScores, CountWhatWasFound) {
  const FeatureDatabase database(five(), Distance::kL2, 5);
  const std::vector<std::int32_t> found = {0, 1, 2, 3, 4};
  const RetrievalScores zero = retrieval_scores(database, found, 0);
  EXPECT_EQ(zero.nearest, 1);
  EXPECT_FLOAT_EQ(zero.average_precision, (1.0f + 2.0f / 4) / 5);
  EXPECT_FLOAT_EQ(zero.precision, 2.0f / 5);
  EXPECT_FLOAT_EQ(zero.recall, 1);
  const RetrievalScores one = retrieval_scores(database, {found.begin(), 2}, 1);
  EXPECT_EQ(one.nearest, 0);
  EXPECT_FLOAT_EQ(one.average_precision, (1.0f / 2) / 2);
  EXPECT_FLOAT_EQ(one.precision, 1.0f / 2);
  EXPECT_FLOAT_EQ(one.recall, 1.0f / 2);
  const RetrievalScores absent = retrieval_scores(database, found, 7);
  EXPECT_EQ(absent.nearest + absent.average_precision + absent.precision + absent.recall, 0);
  const std::vector<std::int32_t> none(5, -1);
  const RetrievalScores of_none = retrieval_scores(database, none, 1);
  for (const float value :
       {of_none.nearest, of_none.average_precision, of_none.precision, of_none.recall}) {
    EXPECT_TRUE(std::isnan(value));
  }
}

}  // namespace
}  // namespace mnm
