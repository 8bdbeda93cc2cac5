#include "export/token_parts.h"

#include <gtest/gtest.h>

#include <random>
#include <set>
#include <utility>

#include "tests/support/cpu_seconds.h"

namespace mnm {
namespace {

using Ids = TokenIds;
using Splits = std::set<std::pair<std::int32_t, std::size_t>>;

Splits splits_of(const Ids& ids) {
  Splits out;
  for_each_split(ids, [&](const TokenSplit& split) {
    EXPECT_TRUE(out.emplace(split.whole, split.at).second) << "given twice";
  });
  return out;
}

Splits splits_one_by_one(const Ids& ids) {
  Splits out;
  for (const auto& [text, id] : ids) {
    for (std::size_t at = 1; at < text.size(); ++at) {
      if (ids.contains(text.substr(0, at)) && ids.contains(text.substr(at))) out.emplace(id, at);
    }
  }
  return out;
}

TEST(TokenParts, AreThoseOfTryingEveryPlace) {
  EXPECT_TRUE(splits_of({}).empty());
  EXPECT_TRUE(splits_of({{"", 0}, {"a", 3}}).empty());
  EXPECT_EQ(splits_of({{"a", 0}, {"aa", 1}, {"aaa", 2}}), (Splits{{1, 1}, {2, 1}, {2, 2}}));
  std::mt19937 random(1);
  std::size_t found = 0;
  for (int round = 0; round < 200; ++round) {
    Ids ids;
    for (std::int32_t id = 0; id < 40; ++id) {
      std::string text;
      for (auto left = random() % 7; left-- > 0;) text += static_cast<char>('a' + random() % 2);
      ids.emplace(text, 2 * id);
    }
    const Splits splits = splits_of(ids);
    EXPECT_EQ(splits, splits_one_by_one(ids));
    found += splits.size();
  }
  EXPECT_GT(found, 1000u);
}

// Trying every place of it would take time with the square of its length.
TEST(TokenParts, OneLongTokenCostsAsMuchAsManyShortOnes) {
  constexpr int kShort = 200, kBytes = 1000;
  Ids many, one;
  for (int i = 0; i < kShort; ++i) {
    many.emplace(std::string(kBytes - 4, 'a') + std::to_string(1000 + i), i);
  }
  one.emplace(std::string(kShort * kBytes, 'a'), 0);
  const auto cost = [](const Ids& ids) { return test::cpu_seconds([&] { splits_of(ids); }); };
  cost(many);
  EXPECT_LT(cost(one), 20 * cost(many));
}

}  // namespace
}  // namespace mnm
