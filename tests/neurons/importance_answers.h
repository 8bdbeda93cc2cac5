// The scores of a checkpoint, and the nested checkpoint that one of them makes, for a judge in
// Python.
#pragma once

#include <gtest/gtest.h>

#include <cstddef>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "engine/engine.h"
#include "neurons/nested_checkpoint.h"
#include "neurons/neuron_ranking.h"
#include "tests/support/temp_dir.h"

namespace mnm::test {

inline const DeviceOptions kOneThread{.threads = 1};

// Writes scores.json, [layers][neurons] of every score, and `nested`, which the score `number`
// makes, beside directory/"ordinary".
inline void write_answers(const std::filesystem::path& directory, const OpenedModel& opened,
                          const Examples& examples, std::size_t number) {
  const std::unique_ptr<ModelSession> session =
      open_engine("cpu").load(opened.model, opened.checkpoint, kOneThread);
  nlohmann::json scores;
  for (const ImportanceRow& row : importance_table()) {
    nlohmann::json& layers = scores[std::string(row.name)] = nlohmann::json::array();
    const StatisticsSink sink = [&](std::size_t layer, const ChannelStatistics& statistics) {
      ASSERT_EQ(layer, layers.size());
      layers.push_back(
          importance_of(row, neurons_of(opened.model, layer), statistics, opened.checkpoint));
    };
    session->calibrate(examples, row.calibration, sink, {});
    ASSERT_EQ(layers.size(), opened.model.layers()) << row.name;
  }
  spew(directory / "scores.json", scores.dump());
  const auto rows = importance_table();
  const ImportanceRow& row = rows[number % rows.size()];
  const nlohmann::json config = nested_config(opened, {.granularities = "1/4,1/2,3/4,1"}, {});
  const auto plan = plan_nested(
      opened, rank_neurons(opened, row, row.needs_data ? &examples : nullptr, kOneThread), config);
  const CheckedExport written =
      write_nested(opened, *plan, directory / "nested", {.values = true, .device = kOneThread});
  ASSERT_TRUE(written.difference) << row.name;
  EXPECT_TRUE(std::filesystem::exists(directory / "nested" / kProbeFile));
}

}  // namespace mnm::test
