// Which programs load submodels of a Gemma 3n.
#pragma once

#include <vector>

#include "export/runtimes.h"
#include "model/nested_model.h"

namespace mnm {

std::vector<RuntimeRule> gemma3n_runtimes(const NestedModel& model);

}  // namespace mnm
