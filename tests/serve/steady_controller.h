// A controller that keeps to no target, and so always runs the widest level of a model list.
#pragma once

#include <vector>

#include "serve/controller.h"
#include "serve/model_list.h"

namespace mnm::test {

inline WidthController steady_controller(const ModelList& models) {
  std::vector<double> flops;
  for (const ServedModel& level : models.levels()) {
    flops.push_back(static_cast<double>(level.cost.flops));
  }
  return {flops, StepTimes(std::vector<TimedStep>{{{1, 1}, 1}}), {}};
}

}  // namespace mnm::test
