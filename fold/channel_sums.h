// Sums over the inner channels of one layer, from rows that come in blocks. Compiled only into the
// engine.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "eval/channel_statistics.h"

namespace mnm {

class ChannelSums {
 public:
  // `rows_each`: of a sequence. Rows come sequence by sequence.
  ChannelSums(std::int64_t rows_each, const CalibrationOptions& options);

  void add(const at::Tensor& rows);  // [n, channels]

  // `down` is the matrix [outputs, channels], or undefined if options.removal is not set. The
  // products that `removal` views are held until the next call of a member.
  ChannelStatistics statistics(const at::Tensor& down);

 private:
  void start(const at::Tensor& rows);
  void add_part(const at::Tensor& rows);  // of one sequence

  std::int64_t rows_each_, in_sequence_ = 0, sequences_ = 0, tokens_ = 0;
  CalibrationOptions options_;
  // f64 [channels]: over all rows; and of |a| over the sequence that has begun.
  at::Tensor sum_, sum_abs_, sum_square_, squared_means_, begun_;
  at::Tensor products_;  // f32 [channels, channels]
};

}  // namespace mnm
