// Sequences that grow under one submodel each: for generating and for timing.
#pragma once

#include <ATen/core/Tensor.h>

#include <memory>

#include "engine/engine.h"
#include "fold/fold.h"

namespace mnm {

// Token ids as int64 [1, tokens], a copy on the CPU.
at::Tensor sequence_of(std::span<const std::int64_t> tokens);

std::unique_ptr<Decoder> make_decoder(Fold& fold, const at::Device& device, const Widths& widths,
                                      std::int64_t context);
std::unique_ptr<PassTimer> make_timer(Fold& fold, const at::Device& device,
                                      const NestedModel& model, const Workload& workload);

}  // namespace mnm
