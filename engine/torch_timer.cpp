#include "engine/torch_timer.h"

#include <ATen/ATen.h>
#include <ATen/Context.h>
#include <c10/core/GradMode.h>

#include <chrono>
#include <utility>

#include "base/random.h"
#include "engine/torch_error.h"
#include "fold/batch.h"
#include "fold/layer_step.h"
#include "model/random_inputs.h"

namespace mnm {
namespace {

// The positions [position, position + n) of each example through all layers: f32 logits of its
// last output, on the CPU, [examples, vocab]. stamp(l) is called after layer l, and before the
// first one stamp(-1).
template <typename Stamp>
at::Tensor pass(Fold& fold, const Widths& widths, const at::Tensor& inputs, std::int64_t position,
                bool one_output, std::vector<LayerCache>& caches, const Stamp& stamp) {
  const Embedded start = fold.embed({inputs});
  State state = start.state;
  stamp(-1);
  for (std::size_t l = 0; l < widths.size(); ++l) {
    state = extend_layer(fold, l, start.givens, state, widths[l], position, caches);
    stamp(static_cast<std::int64_t>(l));
  }
  for (at::Tensor& t : state.tensors) {
    if (!one_output) t = t.narrow(2, t.size(2) - 1, 1).contiguous();
  }
  return fold.logits(fold.readout(state).flatten(0, 2)).to(at::kCPU, at::kFloat).contiguous();
}

class TorchTimer final : public PassTimer {
 public:
  TorchTimer(Fold& fold, const at::Device& device, const NestedModel& model,
             const Workload& workload)
      : fold_(fold),
        device_(device),
        layers_(model.layers()),
        one_output_(model.one_output),
        before_(layers_) {
    const c10::AutoGradMode no_grad(false);
    guarded("preparing to time", device_, [&] {
      // What they are does not matter, but tokens should not be one row of the embedding.
      Random random(1);
      const auto draw = [&](std::int64_t length) {
        return upload(random_inputs(model, workload.batch, length, random), device);
      };
      inputs_ = draw(workload.phase == Phase::kPrefill ? workload.length : 1);
      if (workload.phase == Phase::kPrefill) return;
      // The cached tokens come from the whole model; how long a pass takes does not hang on them.
      pass(fold_, model.space.full(), draw(workload.length), 0, one_output_, before_,
           [](std::int64_t) {});
      position_ = workload.length;
    });
  }

  double whole(const Widths& widths) override {
    return run(widths, [](std::int64_t) {}).second;
  }

  std::vector<double> parts(const Widths& widths) override {
    std::vector<Clock::time_point> stamps;
    const auto [start, seconds] = run(widths, [&](std::int64_t layer) {
      if (layer >= 0 && widths[static_cast<std::size_t>(layer)] == kSkip) {
        stamps.push_back(stamps.back());  // nothing was done, and waiting for it takes time too
        return;
      }
      wait();
      stamps.push_back(Clock::now());
    });
    std::vector<double> parts;
    double layers = 0;
    for (std::size_t l = 0; l < layers_; ++l) {
      parts.push_back(std::chrono::duration<double>(stamps[l + 1] - stamps[l]).count());
      layers += parts.back();
    }
    parts.push_back(seconds - layers);
    return parts;
  }

 private:
  using Clock = std::chrono::steady_clock;

  template <typename Stamp>
  std::pair<Clock::time_point, double> run(const Widths& widths, const Stamp& stamp) {
    const c10::AutoGradMode no_grad(false);
    return guarded("timing", device_, [&] {
      // A pass adds to the caches, so each has its own, made before the clock starts.
      std::vector<LayerCache> caches(layers_);
      for (std::size_t l = 0; l < layers_; ++l) {
        if (widths[l] == kSkip) continue;
        for (const at::Tensor& t : before_[l].tensors) caches[l].tensors.push_back(t.clone());
      }
      wait();
      const Clock::time_point start = Clock::now();
      pass(fold_, widths, inputs_, position_, one_output_, caches,
           stamp);  // its logits arrive on the CPU
      return std::pair(start, std::chrono::duration<double>(Clock::now() - start).count());
    });
  }

  void wait() const {
    if (device_.is_cuda()) at::ones({1}, device_).item<float>();  // behind all that was queued
  }

  Fold& fold_;
  at::Device device_;
  std::size_t layers_;
  bool one_output_;
  at::Tensor inputs_;               // of one pass
  std::int64_t position_ = 0;       // of the first of them
  std::vector<LayerCache> before_;  // what each pass starts with
};

}  // namespace

std::unique_ptr<PassTimer> make_timer(Fold& fold, const at::Device& device,
                                      const NestedModel& model, const Workload& workload) {
  return std::make_unique<TorchTimer>(fold, device, model, workload);
}

}  // namespace mnm
