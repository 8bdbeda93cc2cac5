// The submodels of the released E4B that Google has published.
#pragma once

#include <vector>

#include "families/named_widths.h"
#include "model/nested_model.h"

namespace mnm {

// Those of google/gemma3n-slicing-configs, if the model has the released E4B's layers; else none.
std::vector<NamedWidths> gemma3n_published(const NestedModel& model);

}  // namespace mnm
