// A step that shows its channels is the same step, and what it shows times the matrix is what the
// layer adds.
#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>

#include <map>
#include <string>
#include <vector>

#include "families/family.h"
#include "fold/fold.h"
#include "fold/layer_step.h"
#include "tests/families/mamba2_folds.h"
#include "tests/support/tiny_llama.h"

namespace mnm {
namespace {

// A model whose steps show their channels, beside the same steps that do not.
class ShownModel {
 public:
  ShownModel(const nlohmann::json& config, const std::vector<test::TestTensor>& tensors,
             at::ScalarType type)
      : model_(family_of(config).describe(config, {})) {
    for (const test::TestTensor& tensor : tensors) {
      weights_[tensor.name] = at::tensor(tensor.values).view(tensor.shape).to(type);
    }
    fold_ = make_fold({model_, [this](const std::string& name) { return weights_.at(name); }});
  }

  void check(at::ScalarType type) {
    const at::NoGradGuard no_grad;
    // f32 kernels against operators in another order of sums; the same operators in f64.
    const double tolerance = type == at::kDouble ? 1e-12 : 2e-5;
    const at::Tensor tokens = at::arange(3 * 9).reshape({3, 9}) % model_.vocab_size;
    const auto [root, givens] = fold_->embed({tokens});
    State state = root;
    for (std::size_t layer = 0; layer < model_.layers(); ++layer) {
      std::vector<at::Tensor> seen;
      const State shown = fold_->step_shown(layer, givens, state,
                                            [&](const at::Tensor& rows) { seen.push_back(rows); });
      state = step_layer(*fold_, layer, givens, state, model_.space.layers[layer].full());
      const double scale = state.tensors[0].abs().max().item<double>();
      EXPECT_LE((shown.tensors[0] - state.tensors[0]).abs().max().item<double>(),
                tolerance * scale);
      const at::Tensor rows = at::cat(seen);
      EXPECT_EQ(rows.size(0), 27);
      EXPECT_EQ(rows.size(1), columns(layer));
    }
  }

 private:
  std::int64_t columns(std::size_t layer) const {
    for (const TensorSpec& spec : model_.table.tensors) {
      if (spec.layer == static_cast<int>(layer) && spec.cut_dim == 1) return spec.shape[1];
    }
    return -1;
  }

  NestedModel model_;
  std::map<std::string, at::Tensor> weights_;
  std::unique_ptr<Fold> fold_;
};

TEST(ShownChannels, LeaveTheStepAsItIs) {
  for (const at::ScalarType type : {at::kDouble, at::kFloat}) {
    for (const test::TinyLlama& llama : test::tiny_llamas()) {
      SCOPED_TRACE(llama.name);
      ShownModel(llama.config(), llama.tensors(), type).check(type);
    }
    for (const test::TinyMamba2& mamba : test::variants()) {
      SCOPED_TRACE(mamba.name);
      ShownModel(mamba.config(), mamba.tensors(), type).check(type);
    }
  }
}

}  // namespace
}  // namespace mnm
