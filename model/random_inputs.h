// Inputs that mean nothing, for checks and for timing.
#pragma once

#include <cstdint>

#include "base/random.h"
#include "model/example_inputs.h"
#include "model/nested_model.h"

namespace mnm {

// `count` examples for the model. Token ids are uniform in its vocabulary, `context` to a sequence.
// Pixels are uniform in [-1, 1).
ExampleInputs random_inputs(const NestedModel& model, std::int64_t count, std::int64_t context,
                            Random& random);

}  // namespace mnm
