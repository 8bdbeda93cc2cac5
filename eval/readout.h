// From leaves of a plan to losses: one batch of sequences. Compiled only into the engine.
//
// Logits are taken in chunks of rows, and never a whole [tokens, vocab] matrix of them.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "eval/batch.h"
#include "eval/fold.h"

namespace mnm {

// What is measured of each target, in this order, in f32: loss, and with a reference KL and
// agreement.
constexpr std::int64_t kMetrics = 3;

class Readout {
 public:
  // logit_rows: of one product with the head. The fold outlives the readout.
  Readout(Fold& fold, std::int64_t logit_rows, const Batch& batch);

  // The one node to compare with, at full width.
  void set_reference(const State& full);

  std::int64_t metrics() const { return reference_hidden_.defined() ? kMetrics : 1; }
  // Means over each sequence's scored targets: f32 [nodes, metrics(), sequences].
  at::Tensor measure(const State& leaves);

 private:
  void measure_rows(const at::Tensor& hidden, std::int64_t row, std::int64_t together,
                    const at::Tensor& values);
  at::Tensor reference_rows(std::int64_t row, std::int64_t n);

  Fold& fold_;
  at::Tensor rows_of(const State& state) const;

  std::int64_t logit_rows_ = 1, sequences_ = 0, context_ = 0;  // context: scored positions
  at::Tensor scored_;            // rows of [sequences * tokens]; undefined: all
  at::Tensor targets_;           // [sequences * context]
  at::Tensor reference_hidden_;  // [sequences * context, d]
  at::Tensor reference_log_p_;   // of rows from reference_row_
  std::int64_t reference_row_ = 0;
};

}  // namespace mnm
