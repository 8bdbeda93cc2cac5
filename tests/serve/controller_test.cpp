#include "serve/controller.h"

#include <gtest/gtest.h>

#include <cmath>

#include "serve/time_steps.h"
#include "tests/serve/fake_sequences.h"
#include "tests/support/error_of.h"

namespace mnm {
namespace {

// A machine whose steps take a fixed time and one for each row and its FLOPs, times `slow`.
struct Machine {
  double slow = 1;
  double seconds(const StepLoad& load) const {
    return slow * (0.002 + 0.0001 * static_cast<double>(load.rows) + 1e-4 * load.flops);
  }
  StepTimes times() const {
    std::vector<TimedStep> steps;
    for (const double rows : {1, 2, 4, 8, 16, 32, 64, 512}) {
      for (const double flops : {1.0, 8.0}) {
        const StepLoad load{static_cast<std::int64_t>(rows), rows * flops};
        steps.push_back({load, seconds(load)});
      }
    }
    return StepTimes(std::move(steps));
  }
};

const std::vector<double> kLevels = {1, 2, 4, 8};  // FLOPs per token

TEST(StepTimes, AreTheLinesBetweenMeasurements) {
  const Machine machine;
  const StepTimes times = machine.times();
  for (const std::int64_t rows : {1, 3, 7, 40, 64, 100, 600}) {
    for (const double flops : {1.0, 2.5, 8.0}) {
      const StepLoad load{rows, static_cast<double>(rows) * flops};
      EXPECT_NEAR(times.seconds(load), machine.seconds(load), 1e-12) << rows << " " << flops;
    }
  }
  EXPECT_EQ(times.seconds({}), 0);
}

TEST(StepTimes, NoiseDoesNotMakeMoreWorkFaster) {
  const StepTimes times({{{1, 1}, 2.0}, {{1, 4}, 1.0}, {{2, 2}, 1.5}, {{2, 8}, 3.0}});
  EXPECT_EQ(times.seconds({1, 4}), 2.0);
  EXPECT_EQ(times.seconds({2, 2}), 2.0);
  EXPECT_EQ(times.seconds({2, 8}), 3.0);
}

TEST(StepTimes, OneMeasurementIsEnough) {
  const StepTimes times(std::vector<TimedStep>{{{1, 1}, 0.5}});
  EXPECT_EQ(times.seconds({1, 1}), 0.5);
  EXPECT_EQ(times.seconds({4, 4}), 2.0);
}

TEST(StepTimes, OddMeasurementsAreRefused) {
  using test::error_of;
  EXPECT_NE(error_of([] { StepTimes(std::vector<TimedStep>{}); }), "");
  EXPECT_NE(error_of([] { StepTimes(std::vector<TimedStep>{{{1, 1}, 0.0}}); }), "");
  EXPECT_NE(error_of([] { StepTimes(std::vector<TimedStep>{{{1, 1}, 1.0}, {{2, 8}, 1.0}}); }), "");
}

// Serves `rows` elastic rows for so many steps; returns the level of each.
std::vector<std::size_t> serve(WidthController& controller, const Machine& machine,
                               std::int64_t rows, int steps) {
  std::vector<std::size_t> levels;
  for (int i = 0; i < steps; ++i) {
    const std::size_t level = controller.choose({}, rows);
    levels.push_back(level);
    const StepLoad load{rows, static_cast<double>(rows) * kLevels[level]};
    controller.observe(load, machine.seconds(load));
  }
  return levels;
}

TEST(WidthController, IsWidestWithoutATarget) {
  const Machine machine;
  WidthController controller(kLevels, machine.times(), {.target = 0});
  for (const std::size_t level : serve(controller, machine, 64, 10)) EXPECT_EQ(level, 3u);
}

TEST(WidthController, GivesWayAtOnceAndComesBackSlowly) {
  const Machine machine;
  WidthController controller(kLevels, machine.times(), {.target = 0.025, .patience = 16});
  EXPECT_EQ(serve(controller, machine, 1, 1).back(), 3u);
  // 64 rows: 0.0084 s and 0.0064 s per FLOP of a row, so level 1 fits, and level 2 takes 0.034 s.
  EXPECT_EQ(serve(controller, machine, 64, 1).back(), 1u);
  const std::vector<std::size_t> back = serve(controller, machine, 4, 40);
  EXPECT_EQ(back[14], 1u);
  EXPECT_EQ(back[15], 3u);  // by as many levels as have room
  EXPECT_EQ(back.back(), 3u);
}

TEST(WidthController, TheTargetIsKeptAtEveryLoadThatTheNarrowestAllows) {
  for (const double slow : {0.5, 1.0, 1.7}) {
    const Machine measured, machine{slow};
    WidthController controller(kLevels, measured.times(), {.target = 0.03});
    for (const std::int64_t rows : {1, 64, 2, 40, 16, 64, 8}) {
      serve(controller, machine, rows, 60);  // the correction follows the machine
      const StepLoad narrowest{rows, static_cast<double>(rows) * kLevels[0]};
      if (machine.seconds(narrowest) > 0.029) continue;
      for (const std::size_t level : serve(controller, machine, rows, 100)) {
        const StepLoad load{rows, static_cast<double>(rows) * kLevels[level]};
        EXPECT_LE(machine.seconds(load), 0.03 * 1.0001) << rows << " rows, " << slow;
      }
    }
  }
}

TEST(WidthController, DoesNotSwingAtABorder) {
  // Just at the border of a level, with noise of 4 %, which is less than the headroom.
  const Machine machine;
  WidthController controller(kLevels, machine.times(), {.target = 0.0340});
  std::size_t changes = 0, last = 3;
  for (int i = 0; i < 2000; ++i) {
    const std::size_t level = controller.choose({}, 64);
    changes += level != last ? 1 : 0;
    last = level;
    const StepLoad load{64, 64 * kLevels[level]};
    controller.observe(load, machine.seconds(load) * (1 + 0.04 * std::sin(i * 1.7)));
  }
  EXPECT_LE(changes, 3u);
}

TEST(WidthController, RowsOfFixedWidthsCount) {
  const Machine machine;
  WidthController alone(kLevels, machine.times(), {.target = 0.025});
  EXPECT_EQ(alone.choose({}, 16), 3u);
  WidthController beside(kLevels, machine.times(), {.target = 0.025});
  EXPECT_LT(beside.choose({16, 16 * 8.0}, 16), 3u);
}

TEST(WidthController, OneStandstillDoesNotDecide) {
  const Machine machine;
  WidthController controller(kLevels, machine.times(), {.target = 0.05});
  serve(controller, machine, 8, 50);
  controller.observe({8, 64}, 10.0);  // as if the machine had slept
  EXPECT_LE(controller.predicted({8, 64}), 2 * machine.seconds({8, 64}));
}

TEST(WidthController, PromptsTakeWhatTheTargetLeaves) {
  const Machine machine;
  WidthController controller(kLevels, machine.times(), {.target = 0.05, .aim = 1});
  const StepLoad step{8, 64};
  const std::int64_t rows = controller.prompt_rows(step, 8);
  EXPECT_LE(machine.seconds({8 + rows, 64 + 8.0 * static_cast<double>(rows)}), 0.05 + 1e-9);
  EXPECT_GT(machine.seconds({8 + rows + 1, 64 + 8.0 * static_cast<double>(rows + 1)}), 0.05);
  EXPECT_EQ(controller.prompt_rows({}, 8), 512);  // nobody waits for a token
  const StepLoad full{500, 4000};
  EXPECT_EQ(controller.prompt_rows(full, 8), 16);  // prompts go on all the same
}

TEST(WidthController, AnIdleServerStartsWide) {
  const Machine machine;
  WidthController controller(kLevels, machine.times(), {.target = 0.025});
  serve(controller, machine, 64, 5);
  ASSERT_LT(controller.level(), 3u);
  controller.idle();
  EXPECT_EQ(controller.choose({}, 1), 3u);
}

TEST(WidthController, SettingsAreChecked) {
  const Machine machine;
  using test::usage_error_of;
  const auto with = [&](std::vector<double> flops, const ControllerSettings& settings) {
    return usage_error_of([&] { WidthController(std::move(flops), machine.times(), settings); });
  };
  EXPECT_NE(with({}, {}), "");
  EXPECT_NE(with({2, 1}, {}), "");
  EXPECT_NE(with({1}, {.target = -1}), "");
  EXPECT_NE(with({1}, {.headroom = 1}), "");
  EXPECT_NE(with({1}, {.patience = 0}), "");
  EXPECT_EQ(with({1}, {}), "");
}

TEST(TimeSteps, MeasuresBothSizesAtEveryNumberOfRows) {
  test::FakeSequences sequences;
  double clock = 0;
  const std::vector<TimedStep> steps = time_steps(
      sequences, {{1, 1}, {2, 2}, 10, 20, 6, 32, 3}, [&] { return clock += 0.5; },
      [] { return true; });
  std::vector<std::int64_t> rows;
  for (const TimedStep& step : steps) {
    rows.push_back(step.load.rows);
    EXPECT_EQ(step.seconds, 0.5);
  }
  EXPECT_EQ(rows, (std::vector<std::int64_t>{1, 1, 2, 2, 4, 4, 6, 6, 32, 32}));
  EXPECT_EQ(sequences.open_sequences(), 0u);
  EXPECT_NO_THROW(StepTimes{steps});
}

}  // namespace
}  // namespace mnm
