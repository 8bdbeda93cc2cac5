// From the leaves of a plan to losses, for one batch of sequences. Compiled only into the engine.
//
// Logits are computed in chunks of rows, never as a whole [tokens, vocab] matrix. On a device they
// are also computed in chunks of words. kernels/token_sums.h reads each chunk once, in the dtype of
// the product. So memory does not grow with the vocabulary. Every leaf is compared with the chunks
// of the reference, the full model. These are computed once, as far as there is room for them.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <utility>

#include "eval/tiling.h"
#include "fold/batch.h"
#include "fold/fold.h"
#include "fold/nearest.h"

namespace mnm {

// Metrics that are measured only when they are asked for.
struct RequestedMetrics {
  bool acceptance = false;  // measured if there is a reference
  bool confidence = false;
  bool accuracy5 = false;
};

class Readout {
 public:
  // The fold outlives the readout. On the CPU, chunks of fewer words than the vocabulary take the
  // same route as on a device, with the host's version of the kernels. `database`: what is searched
  // for the hidden states, the queries; it outlives the readout. Null: nothing.
  Readout(Fold& fold, const LogitTile& tile, const Batch& batch, RequestedMetrics requested = {},
          const PlacedDatabase* database = nullptr);

  // Sets the one node to compare with, at full width.
  void set_reference(const State& full);

  // How many metrics are measured, in the order of their table (eval/metrics.h): loss and accuracy;
  // with a reference also KL and agreement; those that were requested; and with a database those
  // of retrieval.
  std::int64_t metrics() const { return metrics_of_words() + (database_ ? kRetrievalMetrics : 0); }
  // Measures leaves: means over the scored targets of each sequence, f32 [nodes, metrics(),
  // sequences], or the sums over the outputs of each run, f32 [nodes, metrics(), runs].
  at::Tensor measure(const State& leaves);

 private:
  // How many metrics need the logits.
  std::int64_t metrics_of_words() const {
    const bool reference = reference_hidden_.defined();
    return (reference ? (requested_.acceptance ? 5 : 4) : 2) + (requested_.confidence ? 1 : 0) +
           (requested_.accuracy5 ? 1 : 0);
  }
  // Of `values`, the row of confidence, which of words' metrics only accuracy5 comes after.
  std::int64_t confidence_row() const {
    return metrics_of_words() - (requested_.accuracy5 ? 2 : 1);
  }
  at::Tensor rows_of(const State& state) const;
  void measure_whole(const at::Tensor& hidden, const at::Tensor& values);
  void measure_rows(const at::Tensor& hidden, std::int64_t row, std::int64_t together,
                    const at::Tensor& values);
  void measure_in_words(const at::Tensor& hidden, const at::Tensor& values);
  void measure_block(const at::Tensor& hidden, std::int64_t row, std::int64_t n,
                     const at::Tensor& values);
  void measure_confidence(std::int64_t row, std::int64_t n, const at::Tensor& sums,
                          const at::Tensor& values);
  void measure_top5(const at::Tensor& hidden, std::int64_t row, std::int64_t n,
                    const at::Tensor& sums, const at::Tensor& values);
  template <typename Read>
  void for_each_chunk(const at::Tensor& hidden, std::int64_t row, std::int64_t n, const Read& read);
  at::Tensor logits_in(const at::Tensor& hidden, std::int64_t row, std::int64_t n,
                       std::int64_t first, std::int64_t words);
  template <typename Make>
  at::Tensor of_reference(std::int64_t row, std::int64_t word, const Make& make);

  Fold& fold_;
  LogitTile tile_;
  RequestedMetrics requested_;
  const PlacedDatabase* database_;
  // Scored positions of each sequence; with runs, all of them as of one sequence.
  std::int64_t sequences_ = 0, context_ = 0;
  at::Tensor run_of_;  // [sequences * context]; undefined: no runs
  std::int64_t runs_ = 0;
  at::Tensor scored_;            // rows of [sequences * tokens]; undefined: all
  at::Tensor targets_;           // [sequences * context]
  at::Tensor reference_hidden_;  // [sequences * context, d]
  // Chunks of the reference, by first row and first word, as many as tile_.kept has room for.
  std::map<std::pair<std::int64_t, std::int64_t>, at::Tensor> kept_;
  std::uint64_t kept_bytes_ = 0;
};

}  // namespace mnm
