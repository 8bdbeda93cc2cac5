// The readout by the CUDA kernels against the CPU's, which sees all words at once. Label `gpu`, and
// on the host.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include "fold/nearest.h"
#include "fold/readout.h"
#include "tests/fold/readout_cases.h"
#include "tests/fold/toy_fold.h"
#include "tests/support/cuda_path.h"

namespace mnm {
namespace {

using test::kReadoutCases;
using test::ReadoutCase;

// As readout_test.cpp derives it: both see the same logits, below 32, and round their losses.
constexpr double kTolerance = (2 + 4) * 32 * 0x1p-24 * 2;

constexpr RequestedMetrics kRequested = {.acceptance = true, .confidence = true, .accuracy5 = true};

State on(const at::Device& device, const State& state) {
  State moved;
  for (const at::Tensor& tensor : state.tensors) moved.tensors.push_back(tensor.to(device));
  return moved;
}

TEST(ReadoutCuda, IsWhatItIsOnTheCpu) {
  MNM_NEEDS_CUDA_DEVICE();
  at::set_num_threads(1);  // the tensors are tiny
  for (const at::ScalarType type : {at::kFloat, at::kBFloat16, at::kHalf}) {
    for (const ReadoutCase& c : kReadoutCases) {
      const NestedModel model = test::toy_model({.vocab = c.vocab});
      test::ToyFold fold(model, 3), moved(model, 3);
      fold.logits_type = moved.logits_type = type;
      for (auto& [name, weight] : moved.weights) weight = weight.to(test::kCudaDevice);
      const std::vector<std::int64_t> shape = {c.sequences, c.context};
      Batch batch;
      batch.inputs = at::randint(c.vocab, shape, at::kLong);
      batch.targets = at::randint(c.vocab, shape, at::kLong);
      if (c.scored) batch.scored = at::tensor({0, 2}, at::kLong).repeat({c.sequences, 1});
      const auto drawn = [&](std::int64_t nodes) {
        return State{{at::randn({nodes, c.sequences, c.context, model.hidden_size}, at::kDouble),
                      at::randn({nodes, c.sequences, c.context, 1}, at::kDouble)}};
      };
      const State leaves = drawn(c.nodes), full = drawn(1);
      Batch there = batch;
      for (at::Tensor* const tensor : {&there.inputs, &there.targets, &there.scored}) {
        if (tensor->defined()) *tensor = tensor->to(test::kCudaDevice);
      }
      for (const bool reference : {false, true}) {
        Readout cpu(fold, {1000, c.vocab, c.vocab}, batch, kRequested);
        if (reference) cpu.set_reference(full);
        const at::Tensor expected = cpu.measure(leaves);
        std::vector<Metric> wanted = {Metric::kConfidence, Metric::kAccuracy5};
        if (reference) wanted.push_back(Metric::kAcceptance);
        const std::vector<MetricRow> measured = measured_for(wanted);
        ASSERT_EQ(expected.size(1), static_cast<std::int64_t>(measured.size()));
        const test::OnCuda on_cuda(/*with_products=*/false);
        for (const std::int64_t rows : {2, 1000}) {
          for (const std::int64_t words : {std::int64_t{1}, std::int64_t{8}, c.vocab}) {
            if (100 * words < c.vocab) continue;
            Readout device(moved, {rows, words, c.vocab}, there, kRequested);
            if (reference) device.set_reference(on(test::kCudaDevice, full));
            const at::Tensor got = device.measure(on(test::kCudaDevice, leaves)).to(at::kCPU);
            ASSERT_EQ(got.sizes(), expected.sizes());
            const at::Tensor apart = got.sub(expected).abs().amax({0, 2});
            for (std::int64_t metric = 0; metric < apart.size(0); ++metric) {
              const MetricRow& row = measured[static_cast<std::size_t>(metric)];
              const bool counts = row.larger_wins && row.metric != Metric::kAcceptance &&
                                  row.metric != Metric::kConfidence;
              EXPECT_LE(apart[metric].item<double>(), counts ? 0 : 2 * kTolerance)
                  << row.name << " of " << c.nodes << " nodes, " << c.vocab << " words, " << words
                  << " at once, " << rows << " rows, logits of " << c10::toString(type);
            }
          }
        }
      }
    }
  }
}

TEST(ReadoutCuda, SearchesADatabaseAsTheCpuDoes) {
  MNM_NEEDS_CUDA_DEVICE();
  at::set_num_threads(1);
  const NestedModel model = test::toy_model({});
  test::ToyFold fold(model, 3), moved(model, 3);
  for (auto& [name, weight] : moved.weights) weight = weight.to(test::kCudaDevice);
  const std::int64_t d = model.hidden_size + 1, vocab = model.vocab_size;
  const at::Tensor vectors = at::randn({50, d});
  Features features{d, {}, {}};
  features.vectors.assign(vectors.const_data_ptr<float>(),
                          vectors.const_data_ptr<float>() + 50 * d);
  for (std::int64_t i = 0; i < 50; ++i) features.labels.push_back(i % 5);
  const FeatureDatabase database(features, Distance::kCosine, 4);
  Batch batch, there;
  batch.inputs = at::randint(vocab, {6, 1}, at::kLong);
  batch.targets = at::randint(5, {6, 1}, at::kLong);
  there.inputs = batch.inputs.to(test::kCudaDevice);
  there.targets = batch.targets.to(test::kCudaDevice);
  const State leaves{
      {at::randn({3, 6, 1, model.hidden_size}, at::kDouble), at::randn({3, 6, 1, 1}, at::kDouble)}};
  const PlacedDatabase here(database, at::kCPU);
  Readout cpu(fold, {1000, vocab, vocab}, batch, {}, &here);
  const at::Tensor expected = cpu.measure(leaves);
  const test::OnCuda on_cuda(/*with_products=*/false);
  const PlacedDatabase placed(database, test::kCudaDevice);
  Readout device(moved, {1000, vocab, vocab}, there, {}, &placed);
  const at::Tensor got = device.measure(on(test::kCudaDevice, leaves)).to(at::kCPU);
  ASSERT_EQ(got.sizes(), expected.sizes());
  const std::int64_t first = expected.size(1) - kRetrievalMetrics;
  EXPECT_TRUE(at::equal(got.narrow(1, first, kRetrievalMetrics),
                        expected.narrow(1, first, kRetrievalMetrics)));
}

}  // namespace
}  // namespace mnm
