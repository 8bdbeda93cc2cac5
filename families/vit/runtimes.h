// Which runtimes load submodels of a vision transformer.
#pragma once

#include <vector>

#include "export/runtimes.h"
#include "model/nested_model.h"

namespace mnm {

std::vector<RuntimeRule> vit_runtimes(const NestedModel& model);

}  // namespace mnm
