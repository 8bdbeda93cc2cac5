// Which runtimes load Llama-style submodels.
#pragma once

#include <vector>

#include "export/runtimes.h"
#include "model/nested_model.h"

namespace mnm {

std::vector<RuntimeRule> llama_runtimes(const NestedModel& model);

}  // namespace mnm
