#include "train/optimizer.h"

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include <algorithm>
#include <cmath>

#include "train/schedule.h"

namespace mnm {

double update_weights(TrainState& state, const TrainSettings& settings,
                      const std::vector<at::Tensor>& gradients, const std::vector<bool>& decayed) {
  const c10::AutoGradMode no_grad(false);
  const auto scalar = at::TensorOptions(state.weights.front().device()).dtype(at::kFloat);
  at::Tensor square = at::zeros({}, scalar);
  for (const at::Tensor& g : gradients) {
    if (g.defined()) square += g.square().sum();
  }
  const double norm = std::sqrt(square.item<double>());
  if (!std::isfinite(norm)) return norm;
  const double scale = std::min(1.0, settings.clip / (norm + 1e-6));
  for (const bool decays : {true, false}) {
    std::vector<at::Tensor> weights, grads, first, second, steps;
    for (std::size_t i = 0; i < gradients.size(); ++i) {
      if (!gradients[i].defined() || decayed[i] != decays) continue;
      weights.push_back(state.weights[i]);
      grads.push_back(gradients[i].mul(scale));
      first.push_back(state.first[i]);
      second.push_back(state.second[i]);
      steps.push_back(at::full({}, static_cast<double>(state.step + 1), scalar));
    }
    if (weights.empty()) continue;
    at::_fused_adamw_(weights, grads, first, second, {}, steps, learning_rate(settings, state.step),
                      settings.beta1, settings.beta2, decays ? settings.weight_decay : 0.0,
                      settings.epsilon, /*amsgrad=*/false, /*maximize=*/false);
  }
  return norm;
}

}  // namespace mnm
