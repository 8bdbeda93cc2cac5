#include "generate/sampler.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <random>

#include "tests/support/error_of.h"

namespace mnm {
namespace {

using test::contains;
using test::error_of;
using test::usage_error_of;

TEST(Sampler, ExpIsThatOfTheLibrary) {
  EXPECT_EQ(exp_of_negative(0), 1);
  for (double x = 0; x > -700; x -= 0.0371) {
    EXPECT_NEAR(exp_of_negative(x) / std::exp(x), 1, 4e-16) << x;
  }
  EXPECT_EQ(exp_of_negative(-1000), 0);
  EXPECT_EQ(exp_of_negative(-HUGE_VAL), 0);
}

TEST(Sampler, GreedyTakesTheFirstOfTheMostLikely) {
  Sampler sampler({});
  const float logits[] = {-1, 3, 2, 3};
  for (const double uniform : {0.0, 0.5, 0.999}) EXPECT_EQ(sampler.pick(logits, uniform), 1);
}

// The definition: probabilities, sorted, cut, and the cumulative sum at which a number falls.
std::int64_t plainly(const std::vector<float>& logits, const Sampling& s, double uniform) {
  std::vector<std::int64_t> ids(logits.size());
  for (std::size_t i = 0; i < ids.size(); ++i) ids[i] = static_cast<std::int64_t>(i);
  const auto logit = [&](std::int64_t id) { return logits[static_cast<std::size_t>(id)]; };
  const bool sorted = s.top_k > 0 || s.top_p < 1;
  if (sorted) {
    std::ranges::stable_sort(ids, [&](auto a, auto b) { return logit(a) > logit(b); });
  }
  if (s.top_k > 0) ids.resize(std::min<std::size_t>(ids.size(), static_cast<std::size_t>(s.top_k)));
  const auto weight = [&](std::int64_t id) {
    const double most = *std::ranges::max_element(logits);
    return std::exp((static_cast<double>(logit(id)) - most) / s.temperature);
  };
  double total = 0;
  for (const auto id : ids) total += weight(id);
  if (s.top_p < 1) {
    std::vector<std::int64_t> kept;
    double sum = 0;
    for (const auto id : ids) {
      if (sum / total >= s.top_p) break;
      sum += weight(id);
      kept.push_back(id);
    }
    ids = kept;
    total = sum;
  }
  double sum = 0;
  for (const auto id : ids) {
    sum += weight(id) / total;
    if (uniform < sum) return id;
  }
  return ids.back();
}

TEST(Sampler, DrawsByTheDefinition) {
  std::mt19937 random(3);
  std::normal_distribution<float> normal(0, 2);
  std::uniform_real_distribution<double> uniform;
  const Sampling settings[] = {{1, 0, 1},    {0.5, 0, 1},  {2, 5, 1},    {1, 1, 1},
                               {1, 1000, 1}, {1, 0, 0.7},  {1, 0, 1e-9}, {0.8, 20, 0.9},
                               {3, 0, 0.99}, {1e-3, 0, 1}, {100, 3, 0.5}};
  for (const Sampling& setting : settings) {
    Sampler sampler(setting);
    for (const std::size_t vocabulary : {1u, 2u, 50u, 257u, 1500u}) {
      std::vector<float> logits(vocabulary);
      for (float& logit : logits) logit = normal(random);
      if (vocabulary == 50) std::fill(logits.begin(), logits.begin() + 9, 1.5f);  // ties
      for (int i = 0; i < 50; ++i) {
        const double u = uniform(random);
        ASSERT_EQ(sampler.pick(logits, u), plainly(logits, setting, u))
            << setting.temperature << " " << setting.top_k << " " << setting.top_p << " of "
            << vocabulary << " at " << u;
      }
    }
  }
}

TEST(Sampler, DrawsAsOftenAsProbable) {
  Sampler sampler({1, 0, 1});
  const std::vector<float> logits = {0, std::log(2.0f), std::log(5.0f)};  // 1/8, 2/8, 5/8
  std::map<std::int64_t, int> counts;
  const int draws = 8000;
  for (int i = 0; i < draws; ++i) ++counts[sampler.pick(logits, (i + 0.5) / draws)];
  // Evenly spaced numbers: each count is off by at most one border.
  EXPECT_NEAR(counts[0], draws / 8, 1);
  EXPECT_NEAR(counts[1], draws / 4, 1);
  EXPECT_NEAR(counts[2], 5 * draws / 8, 1);
}

TEST(Sampler, HostileLogitsAndSettings) {
  Sampler sampler({1, 0, 1}), greedy({});
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const float infinite = std::numeric_limits<float>::infinity();
  for (const std::vector<float>& bad : std::vector<std::vector<float>>{
           {1, nan, 2}, {nan}, {1, infinite}, {-infinite, -infinite}, {}}) {
    EXPECT_TRUE(contains(error_of([&] { sampler.pick(bad, 0.5); }), "no numbers"));
    EXPECT_TRUE(contains(error_of([&] { greedy.pick(bad, 0.5); }), "no numbers"));
  }
  for (std::size_t at = 0; at < 40; ++at) {  // wherever it stands
    for (const float wrong : {nan, infinite}) {
      std::vector<float> bad(40, 1);
      bad[at] = wrong;
      EXPECT_TRUE(contains(error_of([&] { greedy.pick(bad, 0.5); }), "no numbers")) << at;
    }
  }
  const std::vector<float> masked = {-infinite, 0, -infinite, 0};
  EXPECT_EQ(sampler.pick(masked, 0), 1);
  EXPECT_EQ(sampler.pick(masked, 0.9999999999999999), 3);
  EXPECT_TRUE(contains(usage_error_of([] { Sampler({-1, 0, 1}); }), "temperature"));
  EXPECT_TRUE(contains(usage_error_of([] { Sampler({NAN, 0, 1}); }), "temperature"));
  EXPECT_TRUE(contains(usage_error_of([] { Sampler({1, -1, 1}); }), "top-k"));
  EXPECT_TRUE(contains(usage_error_of([] { Sampler({1, 0, 0}); }), "top-p"));
  EXPECT_TRUE(contains(usage_error_of([] { Sampler({1, 0, 1.5}); }), "top-p"));
}

// What `pick` draws, over numbers that are spread evenly, is what `probabilities` says.
TEST(Sampler, ProbabilitiesAreThoseOfThePicks) {
  const std::vector<float> logits = {0.3f, -1, 2, 0.3f, -INFINITY, 1};
  for (const Sampling& sampling :
       {Sampling{1, 0, 1}, {0.4, 0, 1}, {1, 3, 1}, {2, 0, 0.7}, {1.5, 4, 0.6}, {0, 0, 1}}) {
    Sampler sampler(sampling);
    const std::vector<double> p = sampler.probabilities(logits);
    const int draws = 10000;
    std::vector<double> shares(logits.size());
    for (int i = 0; i < draws; ++i) {
      const double uniform = (i + 0.5) / draws;
      shares[static_cast<std::size_t>(sampler.pick(logits, uniform))] += 1.0 / draws;
    }
    for (std::size_t i = 0; i < p.size(); ++i) EXPECT_NEAR(p[i], shares[i], 1.01 / draws) << i;
  }
}

TEST(Sampler, DrawsByWeightsThatAreGiven) {
  const std::vector<double> weights = {0, 0.5, 0, 1.5};
  EXPECT_EQ(draw(weights, 2, 0), 1);
  EXPECT_EQ(draw(weights, 2, 0.2499), 1);
  EXPECT_EQ(draw(weights, 2, 0.25), 3);
  EXPECT_EQ(draw(weights, 2.1, 0.9999), 3);  // a total that rounding made too large
  EXPECT_TRUE(contains(error_of([] { draw(std::vector<double>{0, 0}, 1, 0.5); }), "weight"));
}

}  // namespace
}  // namespace mnm
