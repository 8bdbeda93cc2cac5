#include "export/random_checkpoint.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>

#include "base/error.h"
#include "export/random_weights.h"
#include "tests/export/exported.h"
#include "tests/support/error_of.h"

namespace mnm {
namespace {

namespace fs = std::filesystem;
using test::files_in;
using test::HandModel;
using test::TempDir;

// The known answers of the Random123 library (kat_vectors, philox4x32 10).
TEST(RandomWeights, PhiloxGivesItsKnownAnswers) {
  EXPECT_EQ(philox({0, 0, 0, 0}, {0, 0}),
            (PhiloxCounter{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(philox({0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}, {0xffffffff, 0xffffffff}),
            (PhiloxCounter{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(philox({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}),
            (PhiloxCounter{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

// Each quantile against libm's error function: half a unit in a float's last place, and what erfc
// itself loses, divided by the density there.
TEST(RandomWeights, QuantilesAreTheNormalDistributions) {
  const std::span<const float> quantiles = normal_quantiles();
  ASSERT_EQ(quantiles.size(), 65536u);
  for (std::size_t k = 0; k < quantiles.size(); ++k) {
    const double x = quantiles[k];
    const double wanted = (static_cast<double>(k) + 0.5) / 65536;
    const double density = std::exp(-x * x / 2) / std::sqrt(2 * M_PI);
    const double tolerance = std::abs(x) * 0x1p-24 * density + 4e-16;
    ASSERT_NEAR(std::erfc(-x / std::sqrt(2.0)) / 2, wanted, tolerance) << k;
    ASSERT_TRUE(k == 0 || quantiles[k] > quantiles[k - 1]) << k;
  }
}

TensorSpec normal_tensor(const std::string& name, double deviation) {
  TensorSpec spec;
  spec.name = name;
  spec.init_std = deviation;
  return spec;
}

std::vector<float> made(const TensorSpec& spec, std::uint64_t seed, std::uint64_t begin,
                        std::size_t count, Dtype dtype = Dtype::kF32) {
  std::vector<std::byte> bytes(count * size_of(dtype));
  RandomWeights(seed).fill(spec, dtype, begin, bytes);
  std::vector<float> values(count);
  to_f32(bytes, dtype, values);
  return values;
}

TEST(RandomWeights, MomentsAreWhatTheTableSays) {
  constexpr std::size_t kCount = 1 << 20;
  const std::vector<float> values = made(normal_tensor("w", 0.02), 1, 0, kCount);
  double sum = 0, squares = 0, neighbours = 0;
  for (std::size_t i = 0; i < kCount; ++i) {
    const double value = static_cast<double>(values[i]) / 0.02;
    sum += value;
    squares += value * value;
    if (i > 0) neighbours += value * static_cast<double>(values[i - 1]) / 0.02;
  }
  // Five standard errors of a mean, a variance (that is sqrt(2/n)) and a correlation.
  const double error = 5 / std::sqrt(static_cast<double>(kCount));
  EXPECT_NEAR(sum / kCount, 0, error);
  EXPECT_NEAR(squares / kCount, 1, std::sqrt(2.0) * error);
  EXPECT_NEAR(neighbours / kCount, 0, error);
}

TEST(RandomWeights, AnyPartIsMadeByItself) {
  const TensorSpec spec = normal_tensor("w", 1);
  const std::vector<float> whole = made(spec, 3, 0, 1000);
  for (const std::size_t begin : {8u, 64u, 504u}) {
    for (const std::size_t count : {1u, 7u, 8u, 9u, 300u}) {
      const std::vector<float> part = made(spec, 3, begin, count);
      EXPECT_TRUE(std::equal(part.begin(), part.end(), whole.begin() + static_cast<long>(begin)))
          << begin << " " << count;
    }
  }
}

TEST(RandomWeights, SeedAndNameTellThemApartAndDtypeRounds) {
  const std::vector<float> base = made(normal_tensor("w", 1), 1, 0, 64);
  EXPECT_EQ(base, made(normal_tensor("w", 1), 1, 0, 64));
  EXPECT_NE(base, made(normal_tensor("v", 1), 1, 0, 64));
  EXPECT_NE(base, made(normal_tensor("w", 1), 2, 0, 64));
  EXPECT_NE(base, made(normal_tensor("w", 1), (1ull << 32) + 1, 0, 64));
  const std::vector<float> narrow = made(normal_tensor("w", 1), 1, 0, 64, Dtype::kBF16);
  for (std::size_t i = 0; i < base.size(); ++i) {
    EXPECT_EQ(narrow[i], bf16_to_f32(f32_to_bf16(base[i])));
  }
}

// The first bytes, written down once: another machine or compiler must not change them.
TEST(RandomWeights, FirstValuesAreTheseEverywhere) {
  const std::vector<float> values = made(normal_tensor("model.embed_tokens.weight", 0.02), 1, 0, 4);
  const float expected[] = {-0x1.94b7f8p-8f, -0x1.e31136p-6f, -0x1.b60792p-7f, -0x1.da49c8p-6f};
  for (std::size_t i = 0; i < 4; ++i) EXPECT_EQ(values[i], expected[i]) << i;
}

HuggingFacePlan plan_of(const HandModel& hand, std::uint64_t shard_bytes) {
  return plan_huggingface(hand.model, hand.model.space.full(), {{"config.json", "{}\n"}},
                          {.dtype = Dtype::kBF16, .shard_bytes = shard_bytes, .metadata = {}});
}

TEST(RandomCheckpoint, HoldsEveryTensorAsItsInitSays) {
  HandModel hand;
  hand.model.table.tensors[1].init = Init::kOne;
  hand.model.table.tensors[2].init = Init::kZero;
  TempDir dir;
  for (const std::uint64_t shard_bytes : {1ul, 3'000ul, 1'000'000ul}) {
    const HuggingFacePlan plan = plan_of(hand, shard_bytes);
    fs::create_directory(dir / "out");
    std::uint64_t progress = 0;
    write_random_checkpoint(plan, 5, dir / "out", [&](const Progress& now) {
      return progress = static_cast<std::uint64_t>(now.done), true;
    });
    EXPECT_EQ(progress, plan.bytes);
    std::map<std::string, std::uint64_t> sizes;
    for (const auto& [name, content] : files_in(dir / "out")) sizes[name] = content.size();
    EXPECT_EQ(sizes, plan.files());

    const Checkpoint written = Checkpoint::open(dir / "out");
    EXPECT_EQ(written.shards().size(), plan.shards.size());
    for (const TensorSpec& spec : hand.model.table.tensors) {
      const StoredTensor& tensor = written.at(spec.name);
      EXPECT_EQ(tensor.shape, spec.shape);
      std::vector<float> values(static_cast<std::size_t>(tensor.elements()));
      to_f32(tensor.data, tensor.dtype, values);
      std::vector<float> expected(values.size(), spec.init == Init::kOne ? 1.0f : 0.0f);
      if (spec.init == Init::kNormal) expected = made(spec, 5, 0, values.size(), Dtype::kBF16);
      EXPECT_TRUE(values == expected) << spec.name;
    }
    fs::remove_all(dir / "out");
  }
}

TEST(RandomCheckpoint, SameSeedSameBytes) {
  const HandModel hand;
  TempDir dir;
  const HuggingFacePlan plan = plan_of(hand, 3'000);
  for (const char* name : {"a", "b", "c"}) fs::create_directory(dir / name);
  write_random_checkpoint(plan, 5, dir / "a");
  write_random_checkpoint(plan, 5, dir / "b");
  write_random_checkpoint(plan, 6, dir / "c");
  EXPECT_TRUE(files_in(dir / "a") == files_in(dir / "b"));
  EXPECT_FALSE(files_in(dir / "a") == files_in(dir / "c"));
}

TEST(RandomCheckpoint, StopsWhenToldAndAsksForSpaceFirst) {
  const HandModel hand;
  TempDir dir;
  HuggingFacePlan plan = plan_of(hand, 3'000);
  fs::create_directory(dir / "out");
  EXPECT_THROW(write_random_checkpoint(plan, 5, dir / "out", [](const Progress&) { return false; }),
               Stopped);
  fs::remove_all(dir / "out");
  fs::create_directory(dir / "out");
  plan.bytes = 1ull << 62;
  EXPECT_TRUE(test::contains(test::error_of([&] { write_random_checkpoint(plan, 5, dir / "out"); }),
                             "free"));
  EXPECT_TRUE(fs::is_empty(dir / "out"));
}

// Each other distribution, by its own definition with libm: 65,536 values drawn, sorted, are the
// quantiles that were drawn, so their function is uniform. A value is a float's rounding off, and
// the k-th of n uniform numbers has a standard deviation below 1 / (2 sqrt(n)); six of them bound
// it.
TEST(RandomWeights, OtherDistributionsAreWhatTheirNamesSay) {
  struct Case {
    Init init;
    double low, high;
    double (*share)(double, double, double);  // of the distribution below x
  };
  const auto softplus_share = [](double x, double a, double b) {
    const double softplus = std::max(x, 0.0) + std::log1p(std::exp(-std::abs(x)));
    return std::log(softplus / a) / std::log(b / a);
  };
  const Case cases[] = {
      {Init::kUniform, -0.25, 0.5, [](double x, double a, double b) { return (x - a) / (b - a); }},
      {Init::kLogOfUniform, 1, 16,
       [](double x, double a, double b) { return (std::exp(x) - a) / (b - a); }},
      {Init::kInverseSoftplus, 0.001, 0.1, softplus_share},
      {Init::kInverseSoftplus, 0.5, 4, softplus_share},
      {Init::kInverseSoftplus, 10, 1e6, softplus_share},  // its exponential is no double
  };
  for (const Case& c : cases) {
    TensorSpec spec;
    spec.name = "w";
    spec.init = c.init;
    spec.init_low = c.low;
    spec.init_high = c.high;
    std::vector<float> values = made(spec, 7, 0, 1 << 16);
    EXPECT_EQ(made(spec, 7, 800, 100), std::vector<float>(&values[800], &values[900]));
    std::ranges::sort(values);
    double worst = 0;
    for (std::size_t k = 0; k < values.size(); ++k) {
      const double wanted = (static_cast<double>(k) + 0.5) / (1 << 16);
      worst = std::max(worst, std::abs(c.share(values[k], c.low, c.high) - wanted));
    }
    EXPECT_LE(worst, 6 * 0.5 / 256) << static_cast<int>(c.init);
    EXPECT_GE(c.share(values.front(), c.low, c.high), -1e-5);
    EXPECT_LE(c.share(values.back(), c.low, c.high), 1 + 1e-5);
  }
}

}  // namespace
}  // namespace mnm
