#include "fold/weight_saliency.h"

#include <ATen/ops/cross_entropy_loss.h>
#include <ATen/ops/zeros_like.h>
#include <c10/core/GradMode.h>
#include <torch/csrc/autograd/autograd.h>

#include <algorithm>
#include <memory>

#include "fold/batch.h"
#include "fold/layer_step.h"

namespace mnm {
namespace {

constexpr std::int64_t kRows = 1024;  // tokens whose activations are held for a backward pass

std::vector<double> sums_along(const at::Tensor& values, int dim) {
  at::Tensor sums = values.to(at::kDouble).movedim(dim, 0).reshape({values.size(dim), -1}).sum(1);
  sums = sums.to(at::kCPU).contiguous();
  const auto* const data = sums.const_data_ptr<double>();
  return {data, data + sums.numel()};
}

}  // namespace

std::map<std::string, std::vector<double>> weight_saliency(const NestedModel& model,
                                                           const Examples& dataset,
                                                           const WeightSource& weight,
                                                           const at::Device& device,
                                                           const ProgressSink& progress) {
  const c10::AutoGradMode grad(true);
  std::vector<const TensorSpec*> specs;
  std::map<std::string, at::Tensor> leaves;
  for (const TensorSpec& spec : model.table.tensors) {
    at::Tensor& leaf = leaves[spec.name] = weight(spec.name).to(at::kFloat);
    if (spec.cut_dim < 0) continue;
    leaf.requires_grad_(true);
    specs.push_back(&spec);
  }
  std::vector<at::Tensor> wanted, gradients;
  for (const TensorSpec* spec : specs) {
    wanted.push_back(leaves.at(spec->name));
    gradients.push_back(at::zeros_like(wanted.back()));
  }
  Meter meter(progress, static_cast<double>(dataset.count));
  const std::int64_t each = std::max<std::int64_t>(1, kRows / dataset.context);
  for (std::int64_t begin = 0; begin < dataset.count; begin += each) {
    const std::int64_t count = std::min(each, dataset.count - begin);
    const Batch batch = batch_of(dataset, begin, count, device);
    // Made anew, since a fold derives tensors from the leaves, and the backward pass frees their
    // graph.
    const std::unique_ptr<Fold> fold =
        make_fold({model, [&](const std::string& name) { return leaves.at(name); }});
    const State state = step_layers(*fold, fold->embed(batch), model.space.full());
    const at::Tensor logits = fold->logits(fold->readout(state).flatten(0, 2));
    const double share = static_cast<double>(count) / static_cast<double>(dataset.count);
    const at::Tensor loss =
        at::cross_entropy_loss(logits.to(at::kFloat), batch.targets.flatten()).mul(share);
    const auto grads = torch::autograd::grad({loss}, wanted, {}, {}, false, true);
    const c10::AutoGradMode no_grad(false);
    for (std::size_t i = 0; i < grads.size(); ++i) {
      if (grads[i].defined()) gradients[i].add_(grads[i]);
    }
    meter.add(static_cast<double>(count));
  }
  const c10::AutoGradMode no_grad(false);
  std::map<std::string, std::vector<double>> saliency;
  for (std::size_t i = 0; i < specs.size(); ++i) {
    saliency[specs[i]->name] = sums_along(gradients[i].mul(wanted[i]).abs_(), specs[i]->cut_dim);
  }
  return saliency;
}

}  // namespace mnm
