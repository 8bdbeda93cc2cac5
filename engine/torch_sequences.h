// Sequences (engine/sequences.h) over a fold.
#pragma once

#include <ATen/core/Tensor.h>

#include <memory>

#include "engine/sequences.h"
#include "fold/fold.h"

namespace mnm {

// The three outlive the result.
std::unique_ptr<Sequences> make_sequences(Fold& fold, const at::Device& device,
                                          const NestedModel& model);

}  // namespace mnm
