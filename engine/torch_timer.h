// Times passes of submodels (eval/latency.h), over sequences of one length.
#pragma once

#include <ATen/core/Tensor.h>

#include <memory>

#include "engine/engine.h"
#include "fold/fold.h"

namespace mnm {

std::unique_ptr<PassTimer> make_timer(Fold& fold, const at::Device& device,
                                      const NestedModel& model, const Workload& workload);

}  // namespace mnm
