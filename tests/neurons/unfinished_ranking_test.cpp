// A calibration that stops after any layer goes on from there to the same bits.
#include "neurons/unfinished_ranking.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "neurons/neuron_ranking.h"
#include "tests/neurons/calibration_text.h"
#include "tests/support/error_of.h"
#include "tests/support/tiny_llama.h"

namespace mnm {
namespace {

namespace fs = std::filesystem;
using test::error_of;
using test::slurp;
using test::spew;

const DeviceOptions kOneThread{.threads = 1};

class Unfinished : public ::testing::Test {
 protected:
  Unfinished() {
    llama_.granularities = {};
    llama_.layers = 3;
    opened_ = std::make_unique<OpenedModel>(open_model(llama_.write(dir_ / "ordinary")));
    data_ = test::tokens(test::write_tokens(dir_ / "tokens.bin", 1), opened_->model);
    for (std::size_t l = 0; l < 3; ++l) neurons_.push_back(neurons_of(opened_->model, l));
  }

  UnfinishedRanking open(const nlohmann::json& settings = {{"score", "l2"}}) const {
    return {file_, settings, neurons_, true};
  }

  std::vector<RankedLayer> ranked(std::string_view score, bool compensate,
                                  const DeviceOptions& device,
                                  std::vector<RankedLayer> before = {}) const {
    ResumedRanking resumed;
    std::vector<RankedLayer> all = before;
    resumed.layers = before;
    resumed.ranked = [&](const RankedLayer& layer) { all.push_back(layer); };
    const CompensatedRanking ranking =
        rank_on(*opened_, importance_named(score), compensate, *data_, device, resumed);
    EXPECT_EQ(ranking.orders.size(), all.size());
    for (std::size_t l = 0; l < all.size(); ++l) EXPECT_EQ(ranking.orders[l], all[l].order);
    return all;
  }

  test::TempDir dir_;
  test::TinyLlama llama_;
  std::unique_ptr<OpenedModel> opened_;
  std::unique_ptr<Examples> data_;
  std::vector<LayerNeurons> neurons_;
  fs::path file_ = dir_ / ".out.unfinished";
};

TEST_F(Unfinished, GoesOnAfterAnyLayerToTheSameBits) {
  for (const ImportanceRow& row : importance_table()) {
    if (!row.needs_data) continue;
    for (const bool compensate : {false, true}) {
      for (const bool stream : {false, true}) {
        if (stream && row.calibration.saliency) continue;
        const DeviceOptions device{.threads = 1, .stream = stream};
        const std::vector<RankedLayer> whole = ranked(row.name, compensate, device);
        ASSERT_EQ(whole.size(), 3u);
        EXPECT_EQ(whole.front().means.empty(), !compensate);
        for (std::ptrdiff_t done = 0; done <= 3; ++done) {
          EXPECT_EQ(ranked(row.name, compensate, device, {whole.begin(), whole.begin() + done}),
                    whole)
              << row.name << " after " << done << (stream ? " streamed" : "");
        }
      }
    }
  }
}

// What was measured is not measured again: the statistics of other data would give other orders.
TEST_F(Unfinished, TakesUpWhatItIsGiven) {
  std::vector<RankedLayer> before = ranked("l2", false, kOneThread);
  std::ranges::reverse(before[1].order);
  before.resize(2);
  EXPECT_EQ(ranked("l2", false, kOneThread, before)[1], before[1]);
}

TEST_F(Unfinished, TheFileHoldsLayersExactly) {
  const std::vector<RankedLayer> whole = ranked("wanda", true, kOneThread);
  for (std::size_t done = 0; done < whole.size(); ++done) {
    UnfinishedRanking file = open();
    EXPECT_EQ(file.resumed(), done);
    EXPECT_EQ(file.left_aside(), "");
    file.add(whole[done]);
  }
  EXPECT_EQ(open().layers(), whole);
  open().remove();
  EXPECT_FALSE(fs::exists(file_));
}

TEST_F(Unfinished, AnotherSettingIsSaidAndNothingIsTakenUp) {
  UnfinishedRanking first = open();
  first.add(ranked("wanda", true, kOneThread)[0]);
  for (const nlohmann::json& other :
       {nlohmann::json{{"score", "wanda"}}, nlohmann::json{{"score", "l2"}, {"context", 8}},
        nlohmann::json::object()}) {
    const UnfinishedRanking file = open(other);
    EXPECT_EQ(file.resumed(), 0u);
    EXPECT_NE(file.left_aside().find("is not used, and calibration begins anew"), std::string::npos)
        << file.left_aside();
  }
  EXPECT_NE(
      open({{"score", "wanda"}}).left_aside().find("with score \"l2\", this run has \"wanda\""),
      std::string::npos);
}

// Cut anywhere, or with any byte changed: what is taken up is what was written.
TEST_F(Unfinished, ADamagedFileIsSaid) {
  const std::vector<RankedLayer> whole = ranked("wanda", true, kOneThread);
  UnfinishedRanking first = open();
  for (const RankedLayer& layer : whole) first.add(layer);
  const std::string text = slurp(file_);
  const auto check = [&](const std::string& damaged, std::size_t at) {
    spew(file_, damaged);
    if (!damaged.starts_with("mixnmatch unfinished ranking\n")) {
      EXPECT_NE(error_of([&] { open(); }).find("is not what an earlier run left"),
                std::string::npos);
      return;
    }
    const UnfinishedRanking file = open();
    ASSERT_LE(file.resumed(), whole.size());
    for (std::size_t l = 0; l < file.resumed(); ++l) EXPECT_EQ(file.layers()[l], whole[l]) << at;
    EXPECT_EQ(file.left_aside().empty(), file.resumed() == whole.size()) << at;
  };
  for (std::size_t at = 0; at < text.size(); at += 7) {
    std::string damaged = text;
    damaged[at] = static_cast<char>(damaged[at] ^ 1);
    check(damaged, at);
  }
  check(text.substr(0, text.size() - 1), text.size() - 1);
}

TEST_F(Unfinished, WhatNoEarlierRunMadeIsRefused) {
  const std::string says = "no regular file with one name that belongs to this user";
  spew(dir_ / "other", "kept");
  fs::create_symlink(dir_ / "other", file_);
  EXPECT_NE(error_of([&] { open(); }).find(says), std::string::npos);
  fs::remove(file_);
  fs::create_directory(file_);
  EXPECT_NE(error_of([&] { open(); }).find(says), std::string::npos);
  EXPECT_EQ(slurp(dir_ / "other"), "kept");
}

}  // namespace
}  // namespace mnm
