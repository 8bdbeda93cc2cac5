// The vector by which an example is found again (dataset/feature_database.h).
#pragma once

#include <cstdint>

#include "model/nested_model.h"

namespace mnm {

// The numbers that the heads of a model with one output read of an example: the columns of all
// heads together. A distilled DeiT has two, each for a token of its own.
std::int64_t feature_size(const NestedModel& model);

}  // namespace mnm
