// The readout in chunks of words, as a device takes it, against the one that sees all words at
// once.
#include "fold/readout.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <string>
#include <vector>

#include "tests/fold/readout_cases.h"
#include "tests/fold/toy_fold.h"

namespace mnm {
namespace {

using test::kReadoutCases;
using test::ReadoutCase;

// Everything up to the logits is double, and both round them to f32 alike: of logits below 32, as
// the evaluator's test derives, losses differ by a few roundings of the largest in each route. What
// a product's shape changes in double is nothing to that.
constexpr double kTolerance = (2 + 4) * 32 * 0x1p-24 * 2;

// Random final states, and what they are measured on.
struct Drawn {
  explicit Drawn(const ReadoutCase& c)
      : model(test::toy_model({.vocab = c.vocab})), fold(model, 3), shape{c.sequences, c.context} {
    batch.inputs = at::randint(c.vocab, shape, at::kLong);
    batch.targets = at::randint(c.vocab, shape, at::kLong);
    if (c.scored) batch.scored = at::tensor({0, 2}, at::kLong).repeat({c.sequences, 1});
  }
  State state(std::int64_t nodes) const {
    return {{at::randn({nodes, shape[0], shape[1], model.hidden_size}, at::kDouble),
             at::randn({nodes, shape[0], shape[1], 1}, at::kDouble)}};
  }
  NestedModel model;
  test::ToyFold fold;
  std::vector<std::int64_t> shape;
  Batch batch;
};

// What such a readout measures, in the order in which it does.
std::vector<MetricRow> measured_by(const RequestedMetrics& requested, bool reference) {
  std::vector<Metric> wanted;
  if (reference) wanted.push_back(Metric::kKl);
  if (reference && requested.acceptance) wanted.push_back(Metric::kAcceptance);
  if (requested.confidence) wanted.push_back(Metric::kConfidence);
  if (requested.accuracy5) wanted.push_back(Metric::kAccuracy5);
  return measured_for(wanted);
}

TEST(Readout, InChunksOfWordsIsWhatItIsAtOnce) {
  for (const ReadoutCase& c : kReadoutCases) {
    Drawn drawn(c);
    test::ToyFold& fold = drawn.fold;
    const Batch& batch = drawn.batch;
    const State leaves = drawn.state(c.nodes), full = drawn.state(1);
    for (const bool reference : {false, true}) {
      for (const std::int64_t rows : {1, 2, 6, 1000}) {
        const RequestedMetrics requested = {
            .acceptance = rows > 1, .confidence = rows < 6, .accuracy5 = rows != 2};
        const std::vector<MetricRow> measured = measured_by(requested, reference);
        Readout whole(fold, {rows, c.vocab, c.vocab}, batch, requested);
        if (reference) whole.set_reference(full);
        const at::Tensor expected = whole.measure(leaves);
        for (const std::int64_t words : {1, 4, 8, 512}) {
          if (words >= c.vocab) continue;
          fold.most_words = 0;
          Readout chunked(fold, {rows, words, c.vocab}, batch, requested);
          if (reference) chunked.set_reference(full);
          const at::Tensor got = chunked.measure(leaves);
          ASSERT_EQ(got.sizes(), expected.sizes());
          ASSERT_EQ(got.size(1), static_cast<std::int64_t>(measured.size()));
          EXPECT_EQ(fold.most_words, words);
          const at::Tensor apart = got.sub(expected).abs().amax({0, 2});
          for (std::int64_t metric = 0; metric < apart.size(0); ++metric) {
            const MetricRow& row = measured[static_cast<std::size_t>(metric)];
            const bool counts = row.larger_wins && row.metric != Metric::kAcceptance &&
                                row.metric != Metric::kConfidence;
            EXPECT_LE(apart[metric].item<double>(), counts ? 0 : 2 * kTolerance)
                << row.name << " of " << c.nodes << " nodes, " << c.vocab << " words, " << words
                << " at once, " << rows << " rows";
          }
        }
      }
    }
  }
}

// Against a sort of each row's logits, ties and all: logits in bf16 make ties.
TEST(Readout, Accuracy5IsTheShareOfTargetsAmongTheFirstFive) {
  for (const std::int64_t vocab : {1, 4, 5, 6, 13, 40}) {
    Drawn drawn({.nodes = 3, .sequences = 4, .context = 5, .vocab = vocab, .scored = false});
    const State leaves = drawn.state(3);
    for (const std::int64_t words : {vocab, std::int64_t{3}}) {
      drawn.fold.logits_type = at::kBFloat16;
      Readout readout(drawn.fold, {6, words, vocab}, drawn.batch, {.accuracy5 = true});
      const at::Tensor got = readout.measure(leaves);
      const at::Tensor logits =
          drawn.fold.logits(drawn.fold.readout(leaves).flatten(0, 2)).to(at::kFloat);
      const at::Tensor order = std::get<1>(at::sort(logits, /*stable=*/true, 1, true));
      const at::Tensor hits = order.narrow(1, 0, std::min<std::int64_t>(5, vocab))
                                  .eq(drawn.batch.targets.flatten().repeat({3}).unsqueeze(1))
                                  .any(1);
      const at::Tensor expected = hits.view({3, 4, 5}).to(at::kDouble).mean(-1).to(at::kFloat);
      EXPECT_TRUE(got.select(1, 2).equal(expected)) << vocab << " words, " << words << " at once";
      EXPECT_TRUE(got.select(1, 2).ge(got.select(1, 1)).all().item<bool>());
    }
  }
}

// Behind the metrics of words stand those of retrieval: what a search of the database for each row
// gives, meaned over the positions. The others stay what they are.
TEST(Readout, ADatabaseIsSearchedForEveryLeafsHiddenStates) {
  for (const ReadoutCase& c : kReadoutCases) {
    Drawn drawn(c);
    const State leaves = drawn.state(c.nodes);
    const at::Tensor hidden = drawn.fold.readout(leaves).flatten(0, 2).to(at::kFloat);
    const at::Tensor items = at::randn({20, hidden.size(1)});
    Features features{hidden.size(1), {}, {}};
    features.vectors.assign(items.const_data_ptr<float>(),
                            items.const_data_ptr<float>() + items.numel());
    for (std::int64_t i = 0; i < 20; ++i)
      features.labels.push_back(i % std::min<std::int64_t>(c.vocab, 3));
    const FeatureDatabase database(features, Distance::kCosine, 4);
    const PlacedDatabase placed(database, at::kCPU);
    const at::Tensor targets = drawn.batch.targets.flatten().repeat({c.nodes});
    const at::Tensor each = at::empty({kRetrievalMetrics, hidden.size(0)}, at::kFloat);
    retrieval_into(placed, hidden, targets, each);
    at::Tensor expected = each.view({kRetrievalMetrics, c.nodes, c.sequences, c.context});
    if (c.scored) expected = expected.index_select(3, at::tensor({0, 2}, at::kLong));
    expected = expected.mean(-1, /*keepdim=*/false, at::kDouble).transpose(0, 1).to(at::kFloat);
    for (const std::int64_t words : {c.vocab, std::int64_t{1}}) {
      for (const bool accuracy5 : {false, true}) {
        const RequestedMetrics requested = {.accuracy5 = accuracy5};
        const LogitTile tile{6, words, c.vocab};
        const at::Tensor without =
            Readout(drawn.fold, tile, drawn.batch, requested).measure(leaves);
        Readout readout(drawn.fold, tile, drawn.batch, requested, &placed);
        const at::Tensor got = readout.measure(leaves);
        const std::int64_t before = without.size(1);
        ASSERT_EQ(got.size(1), before + kRetrievalMetrics);
        EXPECT_TRUE(got.narrow(1, 0, before).equal(without));
        EXPECT_TRUE(got.narrow(1, before, kRetrievalMetrics).equal(expected)) << c.vocab;
      }
    }
  }
}

// Against softmax in double, wherever else the readout writes: beside accuracy5 and without it,
// with a reference and without.
TEST(Readout, ConfidenceIsTheProbabilityOfTheMostLikely) {
  for (const std::int64_t vocab : {1, 4, 13, 700}) {
    Drawn drawn({.nodes = 3, .sequences = 4, .context = 5, .vocab = vocab, .scored = false});
    const State leaves = drawn.state(3), full = drawn.state(1);
    const at::Tensor logits = drawn.fold.logits(drawn.fold.readout(leaves).flatten(0, 2));
    const at::Tensor expected =
        at::softmax(logits.to(at::kFloat).to(at::kDouble), 1).amax(1).view({3, 4, 5}).mean(-1);
    for (const std::int64_t words : {vocab, std::int64_t{3}}) {
      for (const bool reference : {false, true}) {
        for (const bool accuracy5 : {false, true}) {
          const RequestedMetrics requested = {.confidence = true, .accuracy5 = accuracy5};
          Readout readout(drawn.fold, {6, words, vocab}, drawn.batch, requested);
          if (reference) readout.set_reference(full);
          const at::Tensor got = readout.measure(leaves).select(1, reference ? 4 : 2);
          // Rounding of the logits moves the logarithm of a probability, which is at most 1.
          EXPECT_LE(got.to(at::kDouble).sub(expected).abs().max().item<double>(), kTolerance)
              << vocab << " words, " << words << " at once";
        }
      }
    }
  }
}

TEST(Readout, ConfidenceIsNoNumberWhereTheLossIsNone) {
  Drawn drawn({.nodes = 2, .sequences = 2, .context = 1, .vocab = 13, .scored = false});
  State leaves = drawn.state(2);
  leaves.tensors[0][1][0].fill_(std::numeric_limits<double>::quiet_NaN());
  for (const std::int64_t words : {13, 4}) {
    Readout readout(drawn.fold, {6, words, 13}, drawn.batch, {.confidence = true});
    const at::Tensor got = readout.measure(leaves).select(1, 2).isnan();
    EXPECT_TRUE(got[1][0].item<bool>());
    EXPECT_EQ(got.sum().item<std::int64_t>(), 1);
  }
}

// All that leaves are compared with is computed once where there is room for it, as much of it as
// there is room for elsewhere, and is the same bits either way.
TEST(Readout, AReferenceIsComputedOnceWhereThereIsRoom) {
  for (const ReadoutCase& c : kReadoutCases) {
    Drawn drawn(c);
    const State full = drawn.state(1), leaves[] = {drawn.state(c.nodes), drawn.state(2)};
    const std::int64_t rows = c.sequences * (c.scored ? 2 : c.context), one = rows * c.vocab;
    for (const std::int64_t words : {c.vocab, std::int64_t{4}}) {
      for (const std::int64_t together : {std::int64_t{1}, std::int64_t{2}, rows, 3 * rows}) {
        const auto measure = [&](std::uint64_t kept) {
          Readout readout(drawn.fold, {together, words, c.vocab, kept}, drawn.batch);
          readout.set_reference(full);
          drawn.fold.logits_made = 0;
          std::vector<at::Tensor> measured;
          for (const State& state : leaves) measured.push_back(readout.measure(state));
          return measured;
        };
        const auto all = static_cast<std::uint64_t>(one) * 4;
        const std::vector<at::Tensor> expected = measure(0);
        const std::int64_t without = drawn.fold.logits_made, least = (c.nodes + 2 + 1) * one;
        EXPECT_GE(without, least + one);
        for (const std::uint64_t kept : {all / 2, all}) {
          const std::vector<at::Tensor> got = measure(kept);
          const std::int64_t again = drawn.fold.logits_made - least;
          EXPECT_LE(again, kept == all ? 0 : without - least);
          EXPECT_GE(again, one - static_cast<std::int64_t>(kept / 4)) << "no more than fits";
          for (std::size_t i = 0; i < got.size(); ++i) EXPECT_TRUE(got[i].equal(expected[i]));
        }
      }
    }
  }
}

}  // namespace
}  // namespace mnm
