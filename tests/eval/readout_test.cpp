// The readout in chunks of words, as a device takes it, against the one that sees all words at
// once.
#include "eval/readout.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <string>

#include "tests/eval/toy_fold.h"

namespace mnm {
namespace {

struct Case {
  std::int64_t nodes, sequences, context, vocab;
  bool scored;  // some positions only
};
const Case kCases[] = {{1, 1, 1, 1, false},
                       {3, 2, 5, 13, false},
                       {4, 3, 4, 29, true},
                       {2, 1, 7, 9, false},
                       {1, 2, 3, 700, true}};

// Everything up to the logits is double, and both round them to f32 alike: of logits below 32, as
// the evaluator's test derives, losses differ by a few roundings of the largest in each route. What
// a product's shape changes in double is nothing to that.
constexpr double kTolerance = (2 + 4) * 32 * 0x1p-24 * 2;

TEST(Readout, InChunksOfWordsIsWhatItIsAtOnce) {
  for (const Case& c : kCases) {
    const NestedModel model = test::toy_model({.vocab = c.vocab});
    test::ToyFold fold(model, 3);
    const auto draw = [&](std::int64_t nodes) {
      const std::vector<std::int64_t> shape = {nodes, c.sequences, c.context};
      std::vector<std::int64_t> hidden = shape, gathered = shape;
      hidden.push_back(model.hidden_size);
      gathered.push_back(1);
      return State{{at::randn(hidden, at::kDouble), at::randn(gathered, at::kDouble)}};
    };
    Batch batch;
    batch.tokens = at::randint(c.vocab, {c.sequences, c.context}, at::kLong);
    batch.targets = at::randint(c.vocab, {c.sequences, c.context}, at::kLong);
    if (c.scored) batch.scored = at::tensor({0, 2}, at::kLong).repeat({c.sequences, 1});
    const State leaves = draw(c.nodes), full = draw(1);
    for (const bool reference : {false, true}) {
      for (const std::int64_t rows : {1, 2, 6, 1000}) {
        Readout whole(fold, {rows, c.vocab, c.vocab}, batch);
        if (reference) whole.set_reference(full);
        const at::Tensor expected = whole.measure(leaves);
        for (const std::int64_t words : {1, 4, 8, 512}) {
          if (words >= c.vocab) continue;
          fold.most_words = 0;
          Readout chunked(fold, {rows, words, c.vocab}, batch);
          if (reference) chunked.set_reference(full);
          const at::Tensor got = chunked.measure(leaves);
          ASSERT_EQ(got.sizes(), expected.sizes());
          EXPECT_EQ(fold.most_words, words);
          const at::Tensor apart = got.sub(expected).abs().amax({0, 2});
          for (std::int64_t metric = 0; metric < apart.size(0); ++metric) {
            EXPECT_LE(apart[metric].item<double>(), metric == 2 ? 0 : 2 * kTolerance)
                << "metric " << metric << " of " << c.nodes << " nodes, " << c.vocab << " words, "
                << words << " at once, " << rows << " rows";
          }
        }
      }
    }
  }
}

}  // namespace
}  // namespace mnm
