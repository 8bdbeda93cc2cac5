// Which runtimes load submodels of MatMamba-Vision.
#pragma once

#include <vector>

#include "export/runtimes.h"

namespace mnm {

std::vector<RuntimeRule> mamba2_vision_runtimes();

}  // namespace mnm
