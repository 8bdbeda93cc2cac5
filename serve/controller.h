// Elastic serving: which submodel the next step runs, so that a step keeps within a target time.
// Pure: it has no clock. Whoever measures tells it how long a step took.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "serve/step_times.h"

namespace mnm {

struct ControllerSettings {
  // Seconds between two tokens of a sequence, that is of one step. 0: there is no target, and the
  // widest submodel always runs.
  double target = 0;
  double aim = 0.95;           // steps are planned for this share of the target: two of the same
                               // load differ in time, and tokens are delivered between them
  double headroom = 0.1;       // a wider submodel must leave this share of the target free...
  std::int64_t patience = 16;  // ...in so many steps in a row, before it runs
  std::int64_t most_prompt_rows = 512;  // tokens of prompts in one step
  std::int64_t least_prompt_rows = 16;  // so that prompts go on whatever the target
};

// Levels are submodels from narrow to wide. The choice follows a prediction: measured times of
// steps, corrected by how much slower or faster recent steps were. A step that is slower than
// predicted counts at once, a faster one slowly, so the correction follows the slow steps.
//
// - The level falls as soon as a step at the present level would miss the target.
// - It rises, by as many levels as have room, only after `patience` steps in which a wider one
//   would have kept the target with `headroom` to spare.
class WidthController {
 public:
  // `flops`: per token, of each level, ascending. UsageError for settings out of range.
  WidthController(std::vector<double> flops, StepTimes times, const ControllerSettings& settings);

  // The level for the next step. `fixed`: rows whose widths their requests fixed. `elastic`: how
  // many rows run at the level that is chosen.
  std::size_t choose(const StepLoad& fixed, std::int64_t elastic);

  // How many tokens of prompts, at `flops` each, may join a step without missing the target.
  std::int64_t prompt_rows(const StepLoad& step, double flops) const;

  // What the step that was run took.
  void observe(const StepLoad& step, double seconds);

  // There is no work: the next request finds the widest level.
  void idle();

  std::size_t level() const { return level_; }
  double predicted(const StepLoad& step) const;  // seconds

 private:
  std::size_t widest_within(const StepLoad& fixed, std::int64_t elastic, double limit) const;

  std::vector<double> flops_;
  StepTimes times_;
  ControllerSettings settings_;
  std::size_t level_;
  double slowness_ = 1;        // recent steps over their predictions
  std::int64_t had_room_ = 0;  // steps in a row in which a wider level would have kept the target
};

}  // namespace mnm
