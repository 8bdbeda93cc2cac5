#include "neurons/nested_checkpoint.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <memory>
#include <numeric>
#include <random>
#include <span>

#include "dataset/examples.h"
#include "engine/engine.h"
#include "eval/standard_error.h"
#include "image/preprocessor_config.h"
#include "neurons/neuron_ranking.h"
#include "tests/support/error_of.h"
#include "tests/support/tiny_llama.h"
#include "tests/support/tiny_mamba2.h"

namespace mnm {
namespace {

namespace fs = std::filesystem;
using test::contains;

constexpr CheckOptions kChecked{.values = true, .device = {.threads = 1}};

std::vector<NeuronOrder> shuffled(const OpenedModel& opened, std::uint32_t seed) {
  std::mt19937 random(seed);
  std::vector<NeuronOrder> orders;
  for (std::size_t layer = 0; layer < opened.model.layers(); ++layer) {
    NeuronOrder& order = orders.emplace_back(neurons_of(opened.model, layer).count);
    std::iota(order.begin(), order.end(), 0);
    std::ranges::shuffle(order, random);
  }
  return orders;
}

void write(const OpenedModel& opened, const std::vector<NeuronOrder>& orders,
           const Nesting& nesting, const fs::path& target) {
  const nlohmann::json config = nested_config(opened, nesting, {{"why", "test"}});
  write_nested(opened, *plan_nested(opened, orders, config), target, kChecked);
}

// Files of every variant, checked by their writer; undone, they are the files there were.
TEST(NestedCheckpoint, UndoneIsTheCheckpoint) {
  const test::TempDir dir;
  for (test::TinyLlama llama : test::tiny_llamas()) {
    SCOPED_TRACE(llama.name);
    llama.granularities = {};
    const OpenedModel opened = open_model(llama.write(dir / llama.name));
    const std::vector<NeuronOrder> orders = shuffled(opened, 1);
    write(opened, orders, {.granularities = "8,32"}, dir / (llama.name + "-nested"));

    const OpenedModel nested = open_model(dir / (llama.name + "-nested"));
    EXPECT_EQ(nested.model.space.levels(), 2u);
    EXPECT_EQ(nested.checkpoint.config()["mixnmatch"]["why"], "test");
    std::vector<NeuronOrder> inverse;
    for (const NeuronOrder& order : orders) inverse.push_back(inverse_of(order));
    write(nested, inverse, {}, dir / (llama.name + "-undone"));
    const Checkpoint undone = Checkpoint::open(dir / (llama.name + "-undone"));
    ASSERT_EQ(undone.shards().size(), opened.checkpoint.shards().size());
    for (std::size_t i = 0; i < undone.shards().size(); ++i) {
      const fs::path& shard = undone.shards()[i];
      EXPECT_EQ(shard.filename(), opened.checkpoint.shards()[i].filename());
      EXPECT_EQ(test::slurp(shard), test::slurp(opened.checkpoint.shards()[i]));
      EXPECT_NE(test::slurp(shard), test::slurp(nested.checkpoint.shards()[i]));
    }
  }
}

// Heads of Mamba-2 are exchanged with their channels of z, x, the convolution and the norm.
TEST(NestedCheckpoint, HeadsOfAStateSpaceModelMove) {
  const test::TempDir dir;
  for (const bool mamba_ssm : {false, true}) {
    test::TinyMamba2 mamba;
    mamba.granularities = {};
    mamba.mamba_ssm = mamba_ssm;
    mamba.bias = true;
    const std::string name = mamba_ssm ? "mamba_ssm" : "huggingface";
    const OpenedModel opened = open_model(mamba.write(dir / name));
    write(opened, shuffled(opened, 2), {.granularities = "1/2,1"}, dir / (name + "-nested"));
    EXPECT_EQ(open_model(dir / (name + "-nested")).model.space.levels(), 2u);
  }
}

TEST(NestedCheckpoint, IsRefusedWhereItIsNested) {
  const test::TempDir dir;
  const OpenedModel nested = open_model(test::TinyLlama{}.write(dir / "model"));
  EXPECT_TRUE(contains(test::error_of([&] { require_not_nested(nested); }),
                       "is nested already: its config names 4 granularities, whose neurons were "
                       "trained in the order that they have"));
  test::TinyLlama ordinary;
  ordinary.granularities = {};
  require_not_nested(open_model(ordinary.write(dir / "ordinary")));
}

TEST(NestedCheckpoint, RefusesOrdersAndGranularitiesThatAreNone) {
  const test::TempDir dir;
  test::TinyLlama llama;
  llama.granularities = {};
  const OpenedModel opened = open_model(llama.write(dir / "model"));
  std::vector<NeuronOrder> orders = shuffled(opened, 3);
  orders[1][0] = orders[1][1];
  EXPECT_TRUE(contains(test::error_of([&] { plan_nested(opened, orders, {}); }), "twice"));
  EXPECT_TRUE(
      contains(test::usage_error_of([&] { nested_config(opened, {.granularities = "1/3,1"}, {}); }),
               "1/3 of layer 0's full width 32 is no whole number"));
}

// A planned order that the written bytes do not have is found, and nothing is there.
class Tampered final : public PlannedExport {
 public:
  Tampered(const PlannedExport& plan, std::uint64_t offset)
      : PlannedExport(plan.slices()), plan_(plan), offset_(offset) {}
  std::string_view format() const override { return plan_.format(); }
  std::string_view dtype() const override { return plan_.dtype(); }
  std::map<std::string, std::uint64_t> files() const override { return plan_.files(); }
  void write(const Checkpoint& checkpoint, const fs::path& directory, const ProgressSink& progress,
             Flush flush) const override {
    plan_.write(checkpoint, directory, progress, flush);
    std::string bytes = test::slurp(directory / "model.safetensors");
    bytes[bytes.size() - offset_] = static_cast<char>(bytes[bytes.size() - offset_] ^ 0x40);
    test::spew(directory / "model.safetensors", bytes);
  }
  Checkpoint reopen(const fs::path& directory) const override { return plan_.reopen(directory); }
  void round(const TensorSlice& slice, std::span<float> values) const override {
    plan_.round(slice, values);
  }
  bool rounds(const Checkpoint& checkpoint) const override { return plan_.rounds(checkpoint); }
  std::string loading(const fs::path&) const override { return ""; }

 private:
  const PlannedExport& plan_;
  std::uint64_t offset_;
};

TEST(NestedCheckpoint, IsThereOnlyIfItsChecksPass) {
  const test::TempDir dir;
  test::TinyLlama llama;
  llama.granularities = {};
  const OpenedModel opened = open_model(llama.write(dir / "model"));
  const auto plan = plan_nested(opened, shuffled(opened, 4),
                                nested_config(opened, {.granularities = "8,32"}, {}));
  for (const std::uint64_t offset : {1u, 5000u, 9000u}) {
    const Tampered tampered(*plan, offset);
    EXPECT_TRUE(
        contains(test::error_of([&] { write_nested(opened, tampered, dir / "out", kChecked); }),
                 "is not its slice of the checkpoint"));
    EXPECT_FALSE(fs::exists(dir / "out"));
  }
  // Names, shapes and types are all that is looked at here.
  write_nested(opened, Tampered(*plan, 1), dir / "out", {.values = false});
  EXPECT_TRUE(fs::exists(dir / "out"));
}

std::vector<double> losses(const fs::path& directory, const Examples& data,
                           const std::vector<Widths>& candidates) {
  const OpenedModel opened = open_model(directory);
  const auto scores = open_engine("cpu")
                          .load(opened.model, opened.checkpoint, {.threads = 1})
                          ->score(candidates, data, {}, {});
  std::vector<double> means;
  for (const CandidateScores& of : scores) means.push_back(mean_of(of[Metric::kLoss]).value);
  return means;
}

// A bundled model, and what its neurons are ranked over and scored on.
struct Bundled {
  fs::path model, calibration, held_out;
  std::int64_t calibrated = 8192, scored = 4096;  // tokens
};

Bundled language_model(const char* name) {
  const fs::path root = fs::path(MNM_SOURCE_DIR) / "data";
  return {root / name, root / "reference/search.bin", root / "reference/confirm.bin"};
}

// What of the loss that shuffling added each score wins back, [scores][narrower levels]; the full
// width is checked. The bundled models were trained nested, so their own order is a good one.
std::vector<std::vector<double>> won_back(const Bundled& bundled, const std::vector<Widths>& levels,
                                          std::span<const ImportanceRow> scores) {
  const test::TempDir dir;
  const OpenedModel opened = open_model(bundled.model);
  const auto load = [&](const fs::path& path, std::int64_t most) {
    return load_examples({.path = path,
                          .max_tokens = most,
                          .pixels = [&] { return read_preprocessing(bundled.model)->pixels; }},
                         opened.model);
  };
  const std::unique_ptr<Examples> calibration = load(bundled.calibration, bundled.calibrated),
                                  held_out = load(bundled.held_out, bundled.scored);
  const std::vector<double> trained = losses(bundled.model, *held_out, levels);
  write(opened, shuffled(opened, 5), {}, dir / "shuffled");
  const OpenedModel shuffled_model = open_model(dir / "shuffled");
  const std::vector<double> lost = losses(dir / "shuffled", *held_out, levels);
  const std::size_t narrower = levels.size() - 1;
  EXPECT_NEAR(lost.back(), trained.back(), 1e-4);  // an order of sums in f32
  for (std::size_t i = 0; i < narrower; ++i) EXPECT_GT(lost[i], trained[i] + 0.05) << i;

  std::vector<std::vector<double>> shares;
  for (const ImportanceRow& row : scores) {
    const Examples* const data = row.needs_data ? calibration.get() : nullptr;
    write(shuffled_model, rank_neurons(shuffled_model, row, data, {.threads = 1}), {},
          dir / row.name);
    const std::vector<double> won = losses(dir / row.name, *held_out, levels);
    EXPECT_NEAR(won.back(), trained.back(), 1e-4) << row.name;
    std::vector<double>& share = shares.emplace_back();
    for (std::size_t i = 0; i < narrower; ++i) {
      share.push_back((lost[i] - won[i]) / (lost[i] - trained[i]));
      ::testing::Test::RecordProperty(fmt::format("{}_{}", row.name, to_string(levels[i])),
                                      fmt::format("{:.3f}", share.back()));
    }
  }
  return shares;
}

TEST(NestedCheckpoint, WinsBackWhatShufflingLost) {
  const std::vector<Widths> levels = {Widths(8, 64), Widths(8, 128), Widths(8, 256),
                                      Widths(8, 512)};
  const std::span<const ImportanceRow> scores = importance_table();
  const auto shares = won_back(language_model("reference"), levels, scores);
  for (std::size_t i = 0; i < scores.size(); ++i) {
    if (!scores[i].needs_data) continue;
    for (const double share : shares[i]) EXPECT_GT(share, 0.95) << scores[i].name;
  }
}

TEST(NestedCheckpoint, WinsBackWhatShufflingHeadsLost) {
  const std::vector<Widths> levels = {Widths(8, 16), Widths(8, 32), Widths(8, 64), Widths(8, 128)};
  const ImportanceRow scores[] = {importance_named("iterative")};
  const auto shares = won_back(language_model("matmamba"), levels, scores);
  for (const double share : shares.front()) EXPECT_GT(share, 0.8);
}

// Over the images of characters: 500 to rank the neurons, 500 others to score them.
TEST(NestedCheckpoint, WinsBackWhatShufflingLostOfImages) {
  const std::vector<Widths> levels = {Widths(6, 2), Widths(6, 8), Widths(6, 32), Widths(6, 192)};
  const ImportanceRow scores[] = {importance_named("iterative")};
  const fs::path glyphs = fs::path(MNM_SOURCE_DIR) / "data/glyphs";
  const auto shares = won_back(
      {glyphs / "vit", glyphs / "search", glyphs / "confirm", 17 * 500, 17 * 500}, levels, scores);
  for (const double share : shares.front()) EXPECT_GT(share, 0.95);
}

}  // namespace
}  // namespace mnm
