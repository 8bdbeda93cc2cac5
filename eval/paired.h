// The difference of two submodels that were scored on the same sequences. Its standard error is far
// smaller than that of either loss, because the losses share the noise of the sequences.
#pragma once

#include <span>

#include "eval/standard_error.h"

namespace mnm {

// mean(a - b), with the standard error of the differences. Both must be of the same sequences in
// the same order. UsageError if the sizes differ.
Estimate paired_difference(std::span<const float> a, std::span<const float> b);

}  // namespace mnm
