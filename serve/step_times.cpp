#include "serve/step_times.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "base/error.h"

namespace mnm {
namespace {

double between(double x, double x0, double y0, double x1, double y1) {
  return x1 == x0 ? y0 : y0 + (y1 - y0) * (x - x0) / (x1 - x0);
}

}  // namespace

StepTimes::StepTimes(std::vector<TimedStep> steps) {
  if (steps.empty()) fail("no step was timed: at least one is needed");
  std::map<std::int64_t, std::vector<std::pair<double, double>>> by_rows;  // FLOPs a row, seconds
  for (const TimedStep& step : steps) {
    if (step.load.rows < 1 || !(step.seconds > 0) || !std::isfinite(step.seconds)) {
      fail("a step of {} rows took {} seconds: both must be above 0", step.load.rows, step.seconds);
    }
    by_rows[step.load.rows].emplace_back(step.load.flops / static_cast<double>(step.load.rows),
                                         step.seconds);
  }
  narrow_ = std::ranges::min(by_rows.begin()->second).first;
  wide_ = std::ranges::max(by_rows.begin()->second).first;
  const auto same = [](double a, double b) { return std::abs(a - b) <= 1e-9 * std::abs(b); };
  for (auto& [rows, sizes] : by_rows) {
    std::ranges::sort(sizes);
    const bool fits =
        sizes.size() <= 2 && same(sizes.front().first, narrow_) && same(sizes.back().first, wide_);
    if (!fits) fail("steps of {} rows were timed at other FLOPs per row than the first", rows);
    Line line{static_cast<double>(rows), sizes.front().second, sizes.back().second};
    line.wide = std::max(line.wide, line.narrow);
    if (!lines_.empty()) {
      line.narrow = std::max(line.narrow, lines_.back().narrow);
      line.wide = std::max(line.wide, lines_.back().wide);
    }
    lines_.push_back(line);
  }
}

double StepTimes::seconds(const StepLoad& load) const {
  if (load.rows == 0) return 0;
  const auto rows = static_cast<double>(load.rows);
  const double flops = load.flops / rows;
  const auto at = [&](const Line& line) {
    return between(flops, narrow_, line.narrow, wide_, line.wide);
  };
  if (lines_.size() == 1) return at(lines_.front()) * std::max(1.0, rows / lines_.front().rows);
  std::size_t i = 1;
  while (i + 1 < lines_.size() && lines_[i].rows < rows) ++i;
  const Line &low = lines_[i - 1], &high = lines_[i];
  const double found = between(rows, low.rows, at(low), high.rows, at(high));
  return std::max(found, 0.0);
}

}  // namespace mnm
