// The Mamba-2 fold on a CUDA device against the CPU in double. Label `gpu`, and on the host.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>

#include <vector>

#include "tests/families/mamba2_folds.h"
#include "tests/support/cuda_path.h"

namespace mnm {
namespace {

using test::roundings;
using test::TinyMamba2;
using test::tokens_of;

// Those whose scan has a CUDA kernel: heads that share B and C.
std::vector<TinyMamba2> variants() {
  std::vector<TinyMamba2> all;
  for (const TinyMamba2& tiny : test::variants()) {
    if (tiny.groups == 1) all.push_back(tiny);
  }
  return all;
}

const at::TensorOptions kOnDevice = at::TensorOptions(test::kCudaDevice).dtype(at::kFloat);

TEST(Mamba2FoldCuda, ALevelOnADeviceIsWhatItIsInDouble) {
  MNM_NEEDS_CUDA_DEVICE();
  const at::NoGradGuard no_grad;
  at::set_num_threads(1);  // the tensors are tiny
  for (const TinyMamba2& tiny : variants()) {
    for (const auto& [sequences, length] : {std::pair{1, 1}, {2, 3}, {2, 70}}) {
      const at::Tensor tokens = tokens_of(tiny, sequences, length);
      test::Mamba2Model exact(tiny, at::kDouble), device(tiny, kOnDevice);
      const at::Tensor expected = test::run(exact, tokens, 1);
      const test::OnCuda on_cuda(/*with_products=*/false);
      const at::Tensor got = test::run(device, tokens.to(test::kCudaDevice), 1);
      ASSERT_EQ(got.sizes(), expected.sizes());
      EXPECT_LE((got - expected).abs().max().item<double>(),
                roundings(tiny, length) * expected.abs().max().item<double>() * 0x1p-24)
          << tiny.name << ", " << length;
    }
  }
}

TEST(Mamba2FoldCuda, PieceByPieceOnADeviceIsTheWholeSequenceInDouble) {
  MNM_NEEDS_CUDA_DEVICE();
  const at::NoGradGuard no_grad;
  at::set_num_threads(1);  // the tensors are tiny
  for (const TinyMamba2& tiny : variants()) {
    const at::Tensor tokens = tokens_of(tiny, 2, 75);
    test::Mamba2Model exact(tiny, at::kDouble), device(tiny, kOnDevice);
    Widths widths;
    for (const LayerChoices& layer : exact.description().space.layers) {
      widths.push_back(layer.granularities[widths.size() % layer.granularities.size()]);
    }
    const at::Tensor expected = test::extend(exact, widths, tokens, {75});
    const test::OnCuda on_cuda(/*with_products=*/false);
    for (const std::vector<std::int64_t>& pieces :
         {std::vector<std::int64_t>{75}, {74, 1}, {2, 31, 1, 41}}) {
      const at::Tensor got = test::extend(device, widths, tokens.to(test::kCudaDevice), pieces);
      EXPECT_LE((got - expected).abs().max().item<double>(),
                roundings(tiny, 75) * expected.abs().max().item<double>() * 0x1p-24)
          << tiny.name << ", " << pieces.size() << " pieces";
    }
  }
}

}  // namespace
}  // namespace mnm
