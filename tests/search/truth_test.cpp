// The floors of search, on the truth tables: the losses of all 65,536 submodels of two bundled
// models, in data/reference/truth.npy and data/matmamba/truth.npy (float32, lexicographic order of
// widths, first layer most significant, narrowest first). Both models have widths in the ratios 1,
// 2, 4, 8, and parameters that are affine in their sum: shares of hypervolume are those of
// LossTable's widths. Hypervolumes are those of LossTable::exhaustive.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <ostream>
#include <string>
#include <vector>

#include "tests/search/table.h"

namespace mnm {
namespace {

using namespace test;

constexpr std::uint64_t kEvaluations = 1311;  // 2 % of the table
constexpr std::uint64_t kSeeds = 10;

// The floats of a version 1.0 .npy file of shape (65536,); empty, with a test failure that says
// why, where it is anything else.
std::vector<float> read_table(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  const std::string bytes(std::istreambuf_iterator<char>(file), {});
  const auto refuse = [&](const char* why) {
    ADD_FAILURE() << path << " is no table of " << LossTable::kSize << " float32: " << why;
    return std::vector<float>{};
  };
  if (bytes.size() < 10 || bytes.compare(0, 8, std::string("\x93NUMPY\x01\x00", 8)) != 0) {
    return refuse("no .npy header of version 1.0");
  }
  const std::size_t length =
      static_cast<unsigned char>(bytes[8]) + 256u * static_cast<unsigned char>(bytes[9]);
  const std::string header = bytes.substr(10, length);
  for (const char* part : {"'descr': '<f4'", "'fortran_order': False", "'shape': (65536,)"}) {
    if (header.find(part) == std::string::npos) return refuse(header.c_str());
  }
  static_assert(std::endian::native == std::endian::little);
  if (bytes.size() != 10 + length + LossTable::kSize * sizeof(float)) return refuse("its size");
  std::vector<float> losses(LossTable::kSize);
  std::memcpy(losses.data(), bytes.data() + 10 + length, losses.size() * sizeof(float));
  for (const float loss : losses) {
    if (!std::isfinite(loss)) return refuse("a loss that is not a number");
  }
  return losses;
}

// A model whose submodels' losses are all known, and the least shares that `surrogate` has to find
// with 50, 100 and 200 evaluations: the median of kSeeds seeds, and the worst of them.
struct Judge {
  const char* model;
  std::vector<double> median;
};

void PrintTo(const Judge& judge, std::ostream* out) { *out << judge.model; }

constexpr std::array<std::uint64_t, 3> kFew = {50, 100, 200};
constexpr std::array<double, 3> kWorstBelow = {0.01, 0.0015, 0.0005};

class Truth : public testing::TestWithParam<Judge> {
 protected:
  void SetUp() override { ASSERT_NE(table(), nullptr); }

  static const LossTable* table() {
    static std::map<std::string, LossTable> loaded;
    const std::string model = GetParam().model;
    if (!loaded.contains(model)) {
      const auto path = std::filesystem::path(MNM_SOURCE_DIR) / model / "truth.npy";
      EXPECT_TRUE(std::filesystem::exists(path)) << path << " is missing: restore it from git";
      loaded.emplace(model, LossTable(std::filesystem::exists(path) ? read_table(path)
                                                                    : std::vector<float>{}));
    }
    const LossTable& found = loaded.at(model);
    return found.empty() ? nullptr : &found;
  }
};

// Where the two tables differ by less than seeds do: docs/search.md has the figures of both.
class TruthOfReference : public Truth {};

INSTANTIATE_TEST_SUITE_P(Table, TruthOfReference,
                         testing::Values(Judge{"data/reference", {0.975, 0.9985, 0.9999}}));

INSTANTIATE_TEST_SUITE_P(Tables, Truth,
                         testing::Values(Judge{"data/reference", {0.975, 0.9985, 0.9999}},
                                         Judge{"data/matmamba", {0.975, 0.997, 0.9995}}),
                         [](const testing::TestParamInfo<Judge>& table) {
                           return std::filesystem::path(table.param.model).filename().string();
                         });

TEST_P(Truth, EvolutionReachesTheFloor) {
  const LossTable::Exhaustive all = table()->exhaustive();
  int beaten = 0;
  for (std::uint64_t seed = 1; seed <= kSeeds; ++seed) {
    const double evolved =
        table()->share_found("evolution", all, {.seed = seed, .max_evaluations = kEvaluations});
    const double random =
        table()->share_found("random", all, {.seed = seed, .max_evaluations = kEvaluations});
    EXPECT_GE(evolved, 0.99) << "seed " << seed;
    beaten += evolved > random ? 1 : 0;
    std::printf("seed %2d: evolution %.5f, random %.5f of the exhaustive hypervolume\n",
                static_cast<int>(seed), evolved, random);
  }
  EXPECT_GE(beaten, 9);
}

TEST_P(Truth, EvolutionReachesTheFloorUnderABudget) {
  for (const double budget : {8 * 96.0, 8 * 192.0, 8 * 384.0}) {
    const LossTable::Exhaustive all = table()->exhaustive({{"width", budget, total_width}});
    for (std::uint64_t seed = 1; seed <= 3; ++seed) {
      const double evolved =
          table()->share_found("evolution", all, {.seed = seed, .max_evaluations = kEvaluations});
      EXPECT_GE(evolved, 0.99) << "seed " << seed << " budget " << budget;
    }
  }
}

// In the tenth of the evaluations that evolution takes, and nearly everything. The medians over
// many more seeds and orders of layers are bench/search's.
TEST_P(Truth, SurrogateReachesTheFloor) {
  const LossTable::Exhaustive all = table()->exhaustive();
  for (std::size_t i = 0; i < kFew.size(); ++i) {
    const std::uint64_t evaluations = kFew[i];
    const double median = GetParam().median[i], floor = median - kWorstBelow[i];
    std::vector<double> found;
    for (std::uint64_t seed = 1; seed <= kSeeds; ++seed) {
      found.push_back(
          table()->share_found("surrogate", all, {.seed = seed, .max_evaluations = evaluations}));
      EXPECT_GE(found.back(), floor) << "seed " << seed << ", " << evaluations << " evaluations";
    }
    std::ranges::sort(found);
    EXPECT_GE((found[kSeeds / 2 - 1] + found[kSeeds / 2]) / 2, median)
        << evaluations << " evaluations";
    for (const double budget : {8 * 96.0, 8 * 192.0, 8 * 384.0}) {
      const LossTable::Exhaustive within = table()->exhaustive({{"width", budget, total_width}});
      EXPECT_GE(table()->share_found("surrogate", within, {.max_evaluations = evaluations}),
                evaluations == 50 ? 0.955 : floor - 0.0015)
          << evaluations << " evaluations, budget " << budget;
    }
  }
}

// The front that surrogate names, if it is told of noise, against that of all noisy losses. The
// losses without noise judge both. bench/search_bench has more seeds.
TEST_P(TruthOfReference, SurrogateSeesThroughNoise) {
  const LossTable::Exhaustive all = table()->exhaustive();
  for (const double noise : {0.002, 0.005}) {
    double named = 0, lucky = 0;
    for (const std::uint64_t seed : {1u, 2u, 3u}) {
      Random random(seed);
      std::vector<Point> noisy;
      for (std::size_t i = 0; i < LossTable::kSize; ++i) {
        noisy.push_back(table()->at(LossTable::widths_at(i)));
        noisy.back().loss += noise * spread(random);
      }
      const auto search =
          make_strategy("surrogate", all.problem, {.seed = seed, .max_evaluations = 200});
      while (!search->finished()) {
        for (const Widths& widths : search->ask(search->preferred_batch())) {
          search->tell(widths, noisy[index_of(widths)], noise);
        }
      }
      std::vector<Point> believed, best;
      for (const Belief& belief : search->believed_front()) {
        believed.push_back(table()->at(belief.widths));
      }
      for (const std::size_t i : front_of(noisy)) {
        best.push_back(table()->at(LossTable::widths_at(i)));
      }
      named += hypervolume(believed, all.reference) / all.hypervolume / 3;
      lucky += hypervolume(best, all.reference) / all.hypervolume / 3;
    }
    std::printf("noise %g: surrogate %.4f, front of all noisy losses %.4f\n", noise, named, lucky);
    EXPECT_GE(named, lucky) << noise;
  }
}

// Losses in random order say nothing of each other: it then searches as well as evolution does.
TEST_P(TruthOfReference, SurrogateIsNoWorseWhereNothingCanBePredicted) {
  Random random(5);
  std::vector<float> losses;
  for (std::size_t i = 0; i < LossTable::kSize; ++i) {
    losses.push_back(static_cast<float>(table()->at(LossTable::widths_at(i)).loss));
  }
  random.shuffle(losses);
  const LossTable shuffled(std::move(losses));
  const LossTable::Exhaustive all = shuffled.exhaustive();
  double surrogate = 0, evolution = 0;
  for (std::uint64_t seed = 1; seed <= kSeeds; ++seed) {
    const StrategySettings settings{.seed = seed, .max_evaluations = 100};
    surrogate += shuffled.share_found("surrogate", all, settings) / kSeeds;
    evolution += shuffled.share_found("evolution", all, settings) / kSeeds;
  }
  std::printf("without structure: surrogate %.4f, evolution %.4f\n", surrogate, evolution);
  EXPECT_GE(surrogate, evolution - 0.01);
}

TEST_P(Truth, GridOfEverythingFindsEverything) {
  EXPECT_EQ(
      table()->share_found("grid", table()->exhaustive(), {.max_evaluations = LossTable::kSize}),
      1.0);
}

}  // namespace
}  // namespace mnm
