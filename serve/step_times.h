// How long one step of decoding takes, by what it computes. Pure.
#pragma once

#include <cstdint>
#include <vector>

namespace mnm {

// What one step computes: a row is one token of one sequence.
struct StepLoad {
  std::int64_t rows = 0;
  double flops = 0;  // of all rows together

  StepLoad operator+(const StepLoad& other) const {
    return {rows + other.rows, flops + other.flops};
  }
};

struct TimedStep {
  StepLoad load;
  double seconds = 0;
};

// Predicts the seconds of any step from measured ones. Those were taken with several numbers of
// rows, each at two sizes of submodel: the narrowest and the widest, so at two numbers of FLOPs per
// row. Between the two sizes, and between two numbers of rows, the time lies on a line; outside, it
// goes on along the nearest line. Noise is taken out where a larger step was faster than a smaller
// one: both then take the larger time.
class StepTimes {
 public:
  // Error unless each number of rows was measured at the same two FLOPs per row, or at one if
  // `steps` has only that.
  explicit StepTimes(std::vector<TimedStep> steps);

  double seconds(const StepLoad& load) const;  // 0 for no rows

 private:
  struct Line {
    double rows = 0, narrow = 0, wide = 0;  // seconds at narrow_ and at wide_ FLOPs per row
  };
  double narrow_ = 0, wide_ = 0;
  std::vector<Line> lines_;  // ascending in rows
};

}  // namespace mnm
