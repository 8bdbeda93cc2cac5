// Which runtimes load Mamba-2 submodels.
#pragma once

#include <vector>

#include "export/runtimes.h"
#include "model/nested_model.h"

namespace mnm {

std::vector<RuntimeRule> mamba2_runtimes(const NestedModel& model);

}  // namespace mnm
