#include "serve/controller.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"

namespace mnm {
namespace {

// How far one step moves the correction: a slow step counts more than a fast one.
constexpr double kSlower = 0.25, kFaster = 0.03;
// One step may not move it further than this: a machine that stood still says nothing of the next.
constexpr double kOutlier = 4;

}  // namespace

WidthController::WidthController(std::vector<double> flops, StepTimes times,
                                 const ControllerSettings& settings)
    : flops_(std::move(flops)), times_(std::move(times)), settings_(settings) {
  if (flops_.empty() || !std::ranges::is_sorted(flops_)) {
    fail_usage("the submodels to choose among must be one or more, from narrow to wide");
  }
  if (!(settings.target >= 0) || !std::isfinite(settings.target)) {
    fail_usage("the target must be a time of 0 or above, not {} s", settings.target);
  }
  if (!(settings.aim > 0 && settings.aim <= 1) ||
      !(settings.headroom >= 0 && settings.headroom < 1) || settings.patience < 1 ||
      settings.least_prompt_rows < 1 || settings.most_prompt_rows < settings.least_prompt_rows) {
    fail_usage("the settings of the controller are out of range");
  }
  level_ = flops_.size() - 1;
}

double WidthController::predicted(const StepLoad& step) const {
  return slowness_ * times_.seconds(step);
}

std::size_t WidthController::widest_within(const StepLoad& fixed, std::int64_t elastic,
                                           double limit) const {
  for (std::size_t level = flops_.size(); level-- > 1;) {
    const StepLoad own{elastic, static_cast<double>(elastic) * flops_[level]};
    if (predicted(fixed + own) <= limit) return level;
  }
  return 0;
}

std::size_t WidthController::choose(const StepLoad& fixed, std::int64_t elastic) {
  if (settings_.target == 0 || elastic == 0) return level_;
  const double within = settings_.aim * settings_.target;
  const std::size_t fits = widest_within(fixed, elastic, within);
  if (fits < level_) {
    level_ = fits;
    had_room_ = 0;
    return level_;
  }
  const std::size_t roomy = widest_within(fixed, elastic, within * (1 - settings_.headroom));
  had_room_ = roomy > level_ ? had_room_ + 1 : 0;
  if (had_room_ >= settings_.patience) {
    level_ = roomy;
    had_room_ = 0;
  }
  return level_;
}

std::int64_t WidthController::prompt_rows(const StepLoad& step, double flops) const {
  if (settings_.target == 0 || step.rows == 0) return settings_.most_prompt_rows;
  std::int64_t low = settings_.least_prompt_rows, high = settings_.most_prompt_rows;
  while (low < high) {
    const std::int64_t rows = low + (high - low + 1) / 2;
    const StepLoad more{rows, static_cast<double>(rows) * flops};
    if (predicted(step + more) <= settings_.aim * settings_.target) {
      low = rows;
    } else {
      high = rows - 1;
    }
  }
  return low;
}

void WidthController::observe(const StepLoad& step, double seconds) {
  const double expected = times_.seconds(step);
  if (!(expected > 0) || !(seconds > 0)) return;
  const double ratio = std::clamp(seconds / expected, slowness_ / kOutlier, slowness_ * kOutlier);
  slowness_ += (ratio > slowness_ ? kSlower : kFaster) * (ratio - slowness_);
}

void WidthController::idle() {
  level_ = flops_.size() - 1;
  had_room_ = 0;
}

}  // namespace mnm
