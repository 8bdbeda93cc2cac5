#include "serve/body_budget.h"

#include <gtest/gtest.h>

#include <limits>

namespace mnm {
namespace {

TEST(BodyBudget, IsSharedAndGivenBack) {
  BodyBudget budget{100};
  {
    BodyShare one(budget), other(budget);
    EXPECT_TRUE(one.resize(60));
    EXPECT_FALSE(other.resize(41));
    EXPECT_EQ(budget.used, 60u);
    EXPECT_TRUE(other.resize(40));
    EXPECT_FALSE(one.resize(61));
    EXPECT_TRUE(one.resize(10));  // less always may
    EXPECT_TRUE(other.resize(90));
    EXPECT_FALSE(one.resize(std::numeric_limits<std::uint64_t>::max()));
    EXPECT_TRUE(one.resize(0));
    EXPECT_EQ(budget.used, 90u);
  }
  EXPECT_EQ(budget.used, 0u);
}

}  // namespace
}  // namespace mnm
