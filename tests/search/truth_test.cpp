// The floors of search, on truth tables: the losses of all 65,536 submodels of the bundled Llama
// and the bundled Mamba-2, in data/*/truth.npy (float32, lexicographic order of widths, first layer
// most significant, narrowest first). Each level of both models is twice as wide as the one below,
// so total widths of the one are those of the other times a constant. Hypervolumes are those of
// LossTable::exhaustive.
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
#include <string>
#include <utility>

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

struct Truth {
  std::string model;  // a folder of data/
  // Shares of the hypervolume that no seed of surrogate's may miss with 50, 100 and 200
  // evaluations, and the same under a budget.
  std::array<double, 3> floors, floors_within;
};

const Truth kReference{"reference", {0.965, 0.997, 0.9994}, {0.955, 0.9955, 0.9994}};
const Truth kMatmamba{"matmamba", {0.965, 0.9955, 0.999}, {0.965, 0.9955, 0.999}};

// nullptr, with a test failure that says why, if there is none.
const LossTable* table_of(const std::string& model) {
  static std::map<std::string, LossTable> loaded;
  const auto known = loaded.find(model);
  if (known != loaded.end()) return &known->second;
  const auto path = std::filesystem::path(MNM_SOURCE_DIR) / "data" / model / "truth.npy";
  EXPECT_TRUE(std::filesystem::exists(path)) << path << " is missing: restore it from git";
  std::vector<float> losses =
      std::filesystem::exists(path) ? read_table(path) : std::vector<float>{};
  if (losses.empty()) return nullptr;
  return &loaded.emplace(model, LossTable(std::move(losses))).first->second;
}

class TruthTable : public ::testing::TestWithParam<Truth> {
 protected:
  void SetUp() override {
    table_ = table_of(GetParam().model);
    ASSERT_NE(table_, nullptr);
  }
  const LossTable* table() const { return table_; }

 private:
  const LossTable* table_ = nullptr;
};

TEST_P(TruthTable, EvolutionReachesTheFloor) {
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

TEST_P(TruthTable, EvolutionReachesTheFloorUnderABudget) {
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
TEST_P(TruthTable, SurrogateReachesTheFloor) {
  constexpr std::array<unsigned, 3> kNumbers = {50, 100, 200};
  for (std::size_t i = 0; i < kNumbers.size(); ++i) {
    const unsigned evaluations = kNumbers[i];
    const LossTable::Exhaustive all = table()->exhaustive();
    for (std::uint64_t seed = 1; seed <= 3; ++seed) {
      const double found =
          table()->share_found("surrogate", all, {.seed = seed, .max_evaluations = evaluations});
      EXPECT_GE(found, GetParam().floors[i]) << "seed " << seed << ", " << evaluations;
      std::printf("seed %2d: surrogate %.5f with %u evaluations\n", static_cast<int>(seed), found,
                  evaluations);
    }
    for (const double budget : {8 * 96.0, 8 * 192.0, 8 * 384.0}) {
      const LossTable::Exhaustive within = table()->exhaustive({{"width", budget, total_width}});
      EXPECT_GE(table()->share_found("surrogate", within, {.max_evaluations = evaluations}),
                GetParam().floors_within[i])
          << evaluations << " evaluations, budget " << budget;
    }
  }
}

// The front that surrogate names, if it is told of noise, against that of all noisy losses. The
// losses without noise judge both. bench/search.py has more seeds.
TEST_P(TruthTable, SurrogateSeesThroughNoise) {
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
TEST(TruthInRandomOrder, SurrogateIsNoWorseThanEvolution) {
  const LossTable* table = table_of(kReference.model);
  ASSERT_NE(table, nullptr);
  Random random(5);
  std::vector<float> losses;
  for (std::size_t i = 0; i < LossTable::kSize; ++i) {
    losses.push_back(static_cast<float>(table->at(LossTable::widths_at(i)).loss));
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

TEST_P(TruthTable, GridOfEverythingFindsEverything) {
  EXPECT_EQ(
      table()->share_found("grid", table()->exhaustive(), {.max_evaluations = LossTable::kSize}),
      1.0);
}

INSTANTIATE_TEST_SUITE_P(Bundled, TruthTable, ::testing::Values(kReference, kMatmamba),
                         [](const auto& info) { return info.param.model; });

}  // namespace
}  // namespace mnm
