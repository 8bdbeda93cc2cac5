// From leaves of a plan to losses: one batch of sequences. Compiled only into the engine.
//
// Logits are taken in chunks of rows, and never a whole [tokens, vocab] matrix of them. On a device
// they are taken in chunks of words as well, each of which is read once, in the dtype that the
// product has, by kernels/token_sums.h: memory does not grow with the vocabulary. A reference's
// chunks, which every leaf is compared with, are computed once as far as there is room for them.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <utility>

#include "eval/tiling.h"
#include "fold/batch.h"
#include "fold/fold.h"

namespace mnm {

class Readout {
 public:
  // The fold outlives the readout. On the CPU words of less than the vocabulary take the device's
  // route, with the host's half of its kernels. `acceptance`: with a reference that too is
  // measured, in a second pass over the words where they come in chunks.
  Readout(Fold& fold, const LogitTile& tile, const Batch& batch, bool acceptance = false);

  // The one node to compare with, at full width.
  void set_reference(const State& full);

  // The first rows of the metric table (eval/metrics.h): two, and with a reference four or five.
  std::int64_t metrics() const { return !reference_hidden_.defined() ? 2 : acceptance_ ? 5 : 4; }
  // Means over each sequence's scored targets: f32 [nodes, metrics(), sequences].
  at::Tensor measure(const State& leaves);

 private:
  at::Tensor rows_of(const State& state) const;
  void measure_whole(const at::Tensor& hidden, const at::Tensor& values);
  void measure_rows(const at::Tensor& hidden, std::int64_t row, std::int64_t together,
                    const at::Tensor& values);
  void measure_in_words(const at::Tensor& hidden, const at::Tensor& values);
  void measure_block(const at::Tensor& hidden, std::int64_t row, std::int64_t n,
                     const at::Tensor& values);
  template <typename Read>
  void for_each_chunk(const at::Tensor& hidden, std::int64_t row, std::int64_t n, const Read& read);
  at::Tensor logits_in(const at::Tensor& hidden, std::int64_t row, std::int64_t n,
                       std::int64_t first, std::int64_t words);
  template <typename Make>
  at::Tensor of_reference(std::int64_t row, std::int64_t word, const Make& make);

  Fold& fold_;
  LogitTile tile_;
  bool acceptance_;
  std::int64_t sequences_ = 0, context_ = 0;  // context: scored positions
  at::Tensor scored_;                         // rows of [sequences * tokens]; undefined: all
  at::Tensor targets_;                        // [sequences * context]
  at::Tensor reference_hidden_;               // [sequences * context, d]
  // Chunks made of the reference, by first row and first word, as many as tile_.kept has room for.
  std::map<std::pair<std::int64_t, std::int64_t>, at::Tensor> kept_;
  std::uint64_t kept_bytes_ = 0;
};

}  // namespace mnm
