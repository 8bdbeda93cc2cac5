// What a layer's bias gains at each width (Compensation in model/nested_model.h). Compiled only
// into the engine.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include "fold/fold.h"
#include "model/dtype.h"
#include "model/widths.h"

namespace mnm {

class RemovedMeans {
 public:
  RemovedMeans() = default;  // of a layer without compensation
  // matrix [d, n], means [n], bias [d] as the checkpoint has them. Sums are taken in f64 and
  // rounded to `stored`, as a file of the submodel holds them, so that the order of summation does
  // not matter. What gains() gives is times `factor`, a number or [d], in the type of `bias`.
  RemovedMeans(const at::Tensor& matrix, const at::Tensor& means, const at::Tensor& bias,
               Dtype stored, const at::Tensor& factor);

  // [d] for each width, undefined where there is nothing to add, as at full width. Up to 256
  // are remembered. Several threads may call it. No gradient passes through it.
  std::vector<at::Tensor> gains(std::span<const Width> widths) const;

  // Adds to each of out [nodes, rows, d] what its width gains.
  void add_to(const at::Tensor& out, const Children& children) const;

 private:
  struct Gain {
    at::Tensor sum;    // f64 [d], of the columns that the width leaves out
    at::Tensor value;  // what gains() gives
  };
  struct Known {
    std::mutex mutex;
    std::map<Width, Gain> gains;
  };
  Gain made(Width width) const;  // under the mutex

  at::Tensor matrix_, means_, bias_, factor_;
  Dtype stored_ = Dtype::kF32;
  std::shared_ptr<Known> known_;  // null: there is no compensation
};

}  // namespace mnm
