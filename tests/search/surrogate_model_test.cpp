#include "search/surrogate_model.h"

#include <gtest/gtest.h>

#include <Eigen/Dense>
#include <cmath>
#include <vector>

#include "base/random.h"
#include "tests/search/problems.h"

namespace mnm {
namespace {

using namespace test;

struct Data {
  std::vector<Levels> members;
  std::vector<double> losses, noises;
};

// Distinct members with losses of singles, pairs and some noise.
Data random_data(const FeasibleSet& set, std::size_t count, double noise, std::uint64_t seed) {
  Random random(seed);
  Data data;
  LevelsSet taken;
  std::vector<double> weights(set.layers());
  for (double& weight : weights) weight = 1 + random.uniform();
  while (data.members.size() < count) {
    Levels member = set.narrowest();
    set.redraw(member, random);
    if (!taken.insert(member).second) continue;
    double loss = 3;
    for (std::size_t l = 0; l < member.size(); ++l) {
      loss -= weights[l] * member[l];
      if (l > 0) loss += 0.2 * weights[l] * member[l] * member[l - 1];
    }
    data.members.push_back(member);
    data.losses.push_back(loss + noise * spread(random));
    data.noises.push_back(noise);
  }
  return data;
}

// The two routes to the posterior's mean: weights in tables, and covariances with the results.
TEST(SurrogateModel, TablesAndCovariancesAgree) {
  for (const auto& [title, problem, small] : problems()) {
    const FeasibleSet set(problem);
    const std::uint64_t members = set.count(60);
    if (members < 8) continue;
    const Data data = random_data(set, static_cast<std::size_t>(members / 2), 0.01, 1);
    SurrogateModel model(set);
    model.fit(data.members, data.losses, data.noises, true);
    const PairTable mean = model.mean();
    const LevelsSet told(data.members.begin(), data.members.end());
    Levels member = set.narrowest();
    for (int i = 0; i < 40; ++i, set.advance(member)) {
      if (told.contains(member)) continue;
      // Rounding of sums over results whose weights are up to 1 / jitter.
      EXPECT_NEAR(mean.value(member), model.view(member).mean, 1e-6) << title;
      EXPECT_GE(model.view(member).variance, 0) << title;
    }
  }
}

// A function that is a sum over layers and pairs is found from fewer results than members.
TEST(SurrogateModel, PredictsWhatItWasNotTold) {
  const FeasibleSet set({.space = four_widths(6), .cost = total_width, .limits = {}});
  Data data = random_data(set, 260, 0, 2);
  SurrogateModel model(set);
  const std::size_t told = 200;
  model.fit(std::span(data.members).first(told), std::span(data.losses).first(told),
            std::span(data.noises).first(told), true);
  double misfit = 0, spread_of = 0, z = 0;
  for (std::size_t i = told; i < data.members.size(); ++i) {
    const SurrogateModel::View view = model.view(data.members[i]);
    misfit += std::pow(view.mean - data.losses[i], 2);
    spread_of += std::pow(data.losses[i] - 3, 2);
    z += std::pow(view.mean - data.losses[i], 2) / view.variance;
  }
  EXPECT_LE(misfit, 1e-4 * spread_of);
  EXPECT_LE(z / 60, 4);  // the uncertainty it states is not too small
}

// Noise is averaged out: what is smoothed lies nearer the truth than what was told, and the
// deviation that is stated is that distance.
TEST(SurrogateModel, SmoothsNoiseThatIsKnown) {
  const FeasibleSet set({.space = four_widths(6), .cost = total_width, .limits = {}});
  const Data noisy = random_data(set, 200, 0.5, 3), exact = random_data(set, 1, 0, 3);
  Data truth = noisy;
  std::vector<double> weights;
  Random random(3);
  for (std::size_t l = 0; l < 6; ++l) weights.push_back(1 + random.uniform());
  for (std::size_t i = 0; i < truth.members.size(); ++i) {
    const Levels& member = truth.members[i];
    truth.losses[i] = 3;
    for (std::size_t l = 0; l < 6; ++l) {
      truth.losses[i] -= weights[l] * member[l];
      if (l > 0) truth.losses[i] += 0.2 * weights[l] * member[l] * member[l - 1];
    }
  }
  SurrogateModel model(set);
  model.fit(noisy.members, noisy.losses, noisy.noises, true);
  double told = 0, smoothed = 0, stated = 0;
  for (std::size_t i = 0; i < noisy.members.size(); ++i) {
    told += std::pow(noisy.losses[i] - truth.losses[i], 2);
    smoothed += std::pow(model.smoothed(i) - truth.losses[i], 2);
    stated += model.smoothed_variance(i);
  }
  EXPECT_LE(smoothed, 0.4 * told);
  EXPECT_GE(stated / smoothed, 0.5);
  EXPECT_LE(stated / smoothed, 2);
}

TEST(SurrogateModel, KnowsWhatItWasTold) {
  const FeasibleSet set({.space = four_widths(5), .cost = total_width, .limits = {}});
  const Data data = random_data(set, 80, 0, 4);
  SurrogateModel model(set);
  model.fit(data.members, data.losses, data.noises, false);
  for (std::size_t i = 0; i < data.members.size(); ++i) {
    EXPECT_EQ(model.smoothed_variance(i), 0);
    EXPECT_NEAR(model.smoothed(i), data.losses[i], 1e-12);
  }
}

// Conditioning on one more result is what the covariance of two views says it is.
TEST(SurrogateModel, CovarianceIsWhatOneTellsOfTheOther) {
  const FeasibleSet set({.space = four_widths(5), .cost = total_width, .limits = {}});
  const Data data = random_data(set, 42, 0, 5);
  SurrogateModel model(set);
  const std::size_t told = 40;
  model.fit(std::span(data.members).first(told), std::span(data.losses).first(told),
            std::span(data.noises).first(told), true);
  const SurrogateModel::View a = model.view(data.members[40]), b = model.view(data.members[41]);
  const double ab = model.covariance(a, b);
  EXPECT_LE(ab * ab, a.variance * b.variance);
  EXPECT_EQ(ab, model.covariance(b, a));
}

}  // namespace
}  // namespace mnm
