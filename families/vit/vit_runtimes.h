// Which runtimes load submodels of a vision transformer.
#pragma once

#include <vector>

#include "export/runtimes.h"

namespace mnm {

std::vector<RuntimeRule> vit_runtimes();

}  // namespace mnm
