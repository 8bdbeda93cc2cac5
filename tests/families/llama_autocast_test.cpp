// A training step of Llama-shaped models with bf16 products, as the trainer computes it (autocast,
// weights in f32), against double. Label `gpu`, and on the host.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/autocast_mode.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <string>

#include "families/family.h"
#include "fold/fold.h"
#include "fold/layer_step.h"
#include "tests/support/cuda_path.h"
#include "tests/support/tiny_architectures.h"

namespace mnm {
namespace {

struct Step {
  at::Tensor logits;                            // [tokens, vocab]
  std::map<std::string, at::Tensor> gradients;  // by the tensor's name
};

// The gradients are those of the mean of the squared logits, as large as logits are. `relative`:
// each matrix is multiplied by 1 + relative * r, r uniform in [-1, 1].
Step step(const NestedModel& model, const std::vector<test::TestTensor>& tensors,
          const at::TensorOptions& options, bool autocast, double relative) {
  std::map<std::string, at::Tensor> weights;
  for (const test::TestTensor& tensor : tensors) {
    at::Tensor weight = at::tensor(tensor.values).view(tensor.shape).to(options);
    if (relative > 0 && weight.dim() == 2) {
      weight = weight * (1 + relative * (2 * at::rand_like(weight) - 1));
    }
    weights[tensor.name] = weight.requires_grad_(true);
  }
  const auto fold = make_fold({model, [&](const std::string& name) { return weights.at(name); }});
  const at::Tensor tokens = at::arange(20, at::kLong).mul(7).remainder(model.vocab_size);
  const at::DeviceType device = options.device().type();
  if (autocast) {
    at::autocast::set_autocast_dtype(device, at::kBFloat16);
    at::autocast::set_autocast_enabled(device, true);
  }
  const State state = step_layers(*fold, fold->embed({tokens.view({1, 20}).to(options.device())}),
                                  model.space.full());
  const at::Tensor logits = fold->logits(fold->readout(state).flatten(0, 2));
  if (autocast) {
    at::autocast::clear_cache();
    at::autocast::set_autocast_enabled(device, false);
  }
  const at::Tensor wide = logits.to(options.dtype());
  wide.square().mean().backward();
  Step done{wide.detach().to(at::kCPU, at::kDouble), {}};
  for (const auto& [name, weight] : weights) {
    done.gradients[name] = weight.grad().to(at::kCPU, at::kDouble);
  }
  return done;
}

double apart(const at::Tensor& a, const at::Tensor& b) {
  return ((a - b).norm() / b.norm()).item<double>();
}

// What bf16 may move is measured, as architectures_check.py measures f32: in double, by an error of
// every operand's size. A product's two operands and its result are each rounded by 2^-8 of their
// size at most, and what every element of every weight gets at random stands for the three. It is
// rounded again where it is added to what came before; the margin is for that, and for the draws.
TEST(LlamaAutocast, ATrainingStepInBf16IsNearItselfInDouble) {
  MNM_NEEDS_CUDA_DEVICE();
  constexpr double kRelative = 3 * 0x1p-8, kMargin = 4;
  constexpr int kDraws = 4;
  at::set_num_threads(1);  // the tensors are tiny
  at::manual_seed(1);
  for (const test::TinyArchitecture& tiny : test::tiny_architectures()) {
    SCOPED_TRACE(tiny.name);
    const NestedModel model = family_of(tiny.config).describe(tiny.config, {});
    const std::vector<test::TestTensor> tensors = tiny.tensors();
    const Step exact = step(model, tensors, at::TensorOptions(at::kDouble), false, 0);
    const Step narrow =
        step(model, tensors, at::TensorOptions(test::kCudaDevice).dtype(at::kFloat), true, 0);
    double logits = 0;
    std::map<std::string, double> moved;
    for (int draw = 0; draw < kDraws; ++draw) {
      const Step other = step(model, tensors, at::TensorOptions(at::kDouble), false, kRelative);
      logits = std::max(logits, apart(other.logits, exact.logits));
      for (const auto& [name, gradient] : other.gradients) {
        moved[name] = std::max(moved[name], apart(gradient, exact.gradients.at(name)));
      }
    }
    EXPECT_LE(apart(narrow.logits, exact.logits), kMargin * logits);
    for (const auto& [name, gradient] : narrow.gradients) {
      EXPECT_LE(apart(gradient, exact.gradients.at(name)), kMargin * moved[name]) << name;
    }
  }
}

}  // namespace
}  // namespace mnm
