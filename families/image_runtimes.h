// Which programs load a classifier of images, beside those that a family knows itself.
#pragma once

#include <vector>

#include "export/runtimes.h"

namespace mnm {

// ONNX Runtime, which loads every submodel, and llama.cpp, which loads none.
std::vector<RuntimeRule> image_runtimes();

}  // namespace mnm
