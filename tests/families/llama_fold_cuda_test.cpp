// The Llama fold on a CUDA device against the CPU in double. Label `gpu`, and on the host.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>

#include <map>
#include <string>
#include <vector>

#include "families/family.h"
#include "fold/fold.h"
#include "fold/layer_step.h"
#include "tests/support/cuda_path.h"
#include "tests/support/tiny_llama.h"

namespace mnm {
namespace {

// A model with its weights on a device, in a type.
class PlacedLlama {
 public:
  PlacedLlama(const test::TinyLlama& llama, const at::TensorOptions& options)
      : model_(family_of(llama.config()).describe(llama.config(), {})) {
    for (const test::TestTensor& tensor : llama.tensors()) {
      weights_[tensor.name] = at::tensor(tensor.values).view(tensor.shape).to(options);
    }
    fold_ = make_fold({model_, [this](const std::string& name) { return weights_.at(name); }});
  }
  Fold& fold() { return *fold_; }
  std::size_t layers() const { return model_.layers(); }

  // Every width of two nodes in four, the widest of the others, so that neighbours are alike:
  // logits [leaves * sequences * tokens, vocab], in double, on the CPU.
  at::Tensor run(const at::Tensor& tokens) {
    const auto [root, givens] = fold().embed({tokens});
    State state = root;
    for (std::size_t layer = 0; layer < layers(); ++layer) {
      Children children;
      for (std::int64_t parent = 0; parent < state.nodes(); ++parent) {
        for (const Width width : model_.space.layers[layer].granularities) {
          if (parent % 4 < 2 || width == model_.space.layers[layer].full()) {
            children.add(parent, width);
          }
        }
      }
      state = fold().step(layer, givens, state, children);
    }
    return fold().logits(fold().readout(state).flatten(0, 2)).to(at::kCPU, at::kDouble);
  }

  // The same of one candidate, the tokens given in pieces of those lengths: [sequences, tokens,
  // vocab].
  at::Tensor extend(const at::Tensor& tokens, const std::vector<std::int64_t>& pieces) {
    std::vector<LayerCache> caches(layers());
    std::vector<at::Tensor> logits;
    std::int64_t position = 0;
    for (const std::int64_t piece : pieces) {
      const auto [root, givens] = fold().embed({tokens.narrow(1, position, piece)});
      State state = root;
      for (std::size_t layer = 0; layer < layers(); ++layer) {
        const std::vector<Width>& widths = model_.space.layers[layer].granularities;
        state = extend_layer(fold(), layer, givens, state, widths[layer % widths.size()], position,
                             caches);
      }
      logits.push_back(
          fold().logits(fold().readout(state).flatten(0, 2)).view({tokens.size(0), piece, -1}));
      position += piece;
    }
    return at::cat(logits, 1).to(at::kCPU, at::kDouble);
  }

 private:
  NestedModel model_;
  std::map<std::string, at::Tensor> weights_;
  std::unique_ptr<Fold> fold_;
};

// As llama_fold_test.cpp bounds f32 on the CPU.
double roundings(const test::TinyLlama& llama, std::int64_t tokens) {
  return static_cast<double>(llama.layers + 1) *
         static_cast<double>(3 * llama.hidden + llama.head_size() + tokens +
                             llama.heads * llama.head_size() + llama.full);
}

TEST(LlamaFoldCuda, ALevelOnADeviceIsWhatItIsInDouble) {
  MNM_NEEDS_CUDA_DEVICE();
  const at::NoGradGuard no_grad;
  at::set_num_threads(1);  // the tensors are tiny
  for (const test::TinyLlama& llama : test::tiny_llamas()) {
    const at::Tensor tokens =
        at::arange(2 * 21, at::kLong).mul(7919).remainder(llama.vocab).view({2, 21});
    PlacedLlama exact(llama, at::TensorOptions(at::kDouble));
    PlacedLlama device(llama, at::TensorOptions(test::kCudaDevice).dtype(at::kFloat));
    const at::Tensor expected = exact.run(tokens);
    const test::OnCuda on_cuda(/*with_products=*/true);
    const at::Tensor got = device.run(tokens.to(test::kCudaDevice));
    ASSERT_EQ(got.sizes(), expected.sizes());
    EXPECT_LE((got - expected).abs().max().item<double>(),
              roundings(llama, 21) * expected.abs().max().item<double>() * 0x1p-24)
        << llama.name;
  }
}

TEST(LlamaFoldCuda, PieceByPieceOnADeviceIsTheWholeSequenceInDouble) {
  MNM_NEEDS_CUDA_DEVICE();
  const at::NoGradGuard no_grad;
  at::set_num_threads(1);  // the tensors are tiny
  for (const test::TinyLlama& llama : test::tiny_llamas()) {
    const at::Tensor tokens =
        at::arange(2 * 21, at::kLong).mul(7919).remainder(llama.vocab).view({2, 21});
    PlacedLlama exact(llama, at::TensorOptions(at::kDouble));
    PlacedLlama device(llama, at::TensorOptions(test::kCudaDevice).dtype(at::kFloat));
    const at::Tensor expected = exact.extend(tokens, {21});
    const test::OnCuda on_cuda(/*with_products=*/true);
    for (const std::vector<std::int64_t>& pieces :
         {std::vector<std::int64_t>{21}, {20, 1}, {1, 3, 17}}) {
      const at::Tensor got = device.extend(tokens.to(test::kCudaDevice), pieces);
      EXPECT_LE((got - expected).abs().max().item<double>(),
                roundings(llama, 21) * expected.abs().max().item<double>() * 0x1p-24)
          << llama.name << ", " << pieces.size() << " pieces";
    }
  }
}

}  // namespace
}  // namespace mnm
