// Measures how long steps of decoding take, for StepTimes.
#pragma once

#include <functional>
#include <vector>

#include "engine/sequences.h"
#include "serve/step_times.h"

namespace mnm {

struct TimeStepsRequest {
  Widths narrow, wide;                      // may be equal
  double narrow_flops = 0, wide_flops = 0;  // per token
  std::int64_t most_rows = 64;              // sequences that are decoded together
  std::int64_t most_prompt_rows = 512;      // tokens of a prompt in one step
  int repeats = 5;                          // of which the median counts
};

// Steps of 1, 2, 4, ... sequences, up to most_rows, and one of most_prompt_rows tokens of a prompt.
// `seconds` is a clock that only goes forward. Between two steps `go_on` is asked; if it says no,
// what was measured is returned.
std::vector<TimedStep> time_steps(Sequences& sequences, const TimeStepsRequest& request,
                                  const std::function<double()>& seconds,
                                  const std::function<bool()>& go_on);

}  // namespace mnm
