#include "fold/sweep.h"

#include <c10/core/StreamGuard.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <malloc.h>

#include <algorithm>
#include <atomic>
#include <future>
#include <memory>
#include <utility>
#include <vector>

#include "fold/batch.h"
#include "fold/device_error.h"
#include "fold/kept_givens.h"
#include "fold/layer_step.h"
#include "fold/readout.h"
#include "fold/workers.h"

namespace mnm {
namespace {

// On a device copies go through a stream of their own, beside the work; they have arrived when this
// returns.
void load_apart(Fold& fold, std::size_t layer, const at::Device& device) {
  const at::NoGradGuard no_grad;
  if (device.is_cpu()) return fold.load(layer);
  const c10::impl::VirtualGuardImpl backend(device.type());
  const c10::Stream stream = backend.getStreamFromGlobalPool(device);
  const c10::StreamGuard guard(stream);
  fold.load(layer);
  backend.synchronizeStream(stream);
}

// The layers, one after the other: while one is used the next is loaded. Leaves none loaded.
class Layers {
 public:
  // needed: whether a layer is loaded at all, [layers].
  Layers(Fold& fold, std::vector<bool> needed, const at::Device& device)
      : fold_(fold), needed_(std::move(needed)), device_(device) {
    start(0);
  }
  Layers(const Layers&) = delete;
  Layers& operator=(const Layers&) = delete;
  ~Layers() {
    if (next_.valid()) next_.wait();
    loss_of(device_);  // a lost device has nothing under way
    for (std::size_t l = 0; l < needed_.size(); ++l) fold_.unload(l);
  }

  void enter(std::size_t layer) {
    if (!needed_[layer]) return;
    next_.get();
    start(layer + 1);
  }
  void leave(std::size_t layer) {
    if (!needed_[layer]) return;
    // What is queued may still read the weights, whose memory the other stream takes next.
    wait_for(device_);
    fold_.unload(layer);
    // Every layer is loaded by a thread of its own, and glibc keeps what is freed in the arena of
    // the thread that allocated it: how many layers stayed so was a matter of timing.
    if (device_.is_cpu()) malloc_trim(0);
  }

 private:
  // The first needed one from `layer` on.
  void start(std::size_t layer) {
    while (layer < needed_.size() && !needed_[layer]) ++layer;
    if (layer == needed_.size()) return;
    next_ = std::async(std::launch::async, [this, layer] { load_apart(fold_, layer, device_); });
  }

  Fold& fold_;
  std::vector<bool> needed_;
  at::Device device_;
  std::future<void> next_;
};

// Those that some candidate does not skip.
std::vector<bool> stepped_layers(const PrefixTree& plan) {
  std::vector<bool> stepped;
  for (const Children& nodes : plan.levels)
    stepped.push_back(std::ranges::max(nodes.widths) > kSkip);
  return stepped;
}

class Sweep {
 public:
  Sweep(const SweepInputs& inputs, Meter& meter, std::span<CandidateScores> results)
      : inputs_(inputs),
        meter_(meter),
        results_(results),
        batches_(static_cast<std::size_t>(inputs.division.batches)),
        givens_(inputs.room, batches_, inputs.plan.levels.size()) {}

  void run() {
    const PrefixTree& plan = inputs_.plan;
    Layers layers(inputs_.fold, stepped_layers(plan), inputs_.room.device());
    auto states = std::make_unique<LevelStates>(inputs_.room, batches_);
    for_each_batch([&](std::size_t b) { embed_batch(b, *states); });
    for (std::size_t level = 0; level < plan.levels.size(); ++level) {
      layers.enter(level);
      auto below = std::make_unique<LevelStates>(inputs_.room, batches_);
      for_each_batch([&](std::size_t b) {
        step_batch(level, b, *states, *below);
        states->close(b);
        givens_.drop(b, level);
      });
      layers.leave(level);
      states = std::move(below);
    }
    for_each_batch([&](std::size_t b) { measure_batch(b, *states); });
  }

 private:
  std::int64_t begin_of(std::size_t b) const {
    return inputs_.dataset.count * static_cast<std::int64_t>(b) / inputs_.division.batches;
  }
  std::int64_t sequences_of(std::size_t b) const { return begin_of(b + 1) - begin_of(b); }
  Batch batch(std::size_t b) const {
    return batch_of(inputs_.dataset, begin_of(b), sequences_of(b), inputs_.room.device());
  }
  void count(std::size_t b, double flops_per_position) const {
    meter_.add(flops_per_position * static_cast<double>(sequences_of(b) * inputs_.dataset.context));
  }

  template <typename Work>
  void for_each_batch(const Work& work) const {
    std::atomic<std::size_t> next = 0;  // who is done first takes more
    run_workers(
        inputs_.division.workers,
        [&] {
          for (std::size_t b = next++; b < batches_; b = next++) work(b);
        },
        [&] { next = batches_; });
  }

  void embed_batch(std::size_t b, LevelStates& states) {
    const Embedded start = inputs_.fold.embed(batch(b));
    givens_.keep(b, start.givens);
    states.open(b, 1, start.state);
    states.write(b, 0, start.state);
    count(b, inputs_.flops.embedding());
  }

  // In the steps that a walk would take.
  void step_batch(std::size_t level, std::size_t b, const LevelStates& parents,
                  LevelStates& out) const {
    const Children& nodes = inputs_.plan.levels[level];
    const Givens givens = givens_.of(b, level);
    State chunk;
    for (const TreeStep& step : steps_of(nodes, 0, nodes.parents(), inputs_.division.tiling)) {
      // A parent whose children take several steps is read at the first.
      if (step.begin == nodes.begin_of(step.first)) {
        chunk = parents.read(b, step.first, step.parents());
      }
      const Children children = nodes.of(step);
      const State states = step_layer(inputs_.fold, level, givens, chunk, children);
      if (step.begin == 0) out.open(b, nodes.nodes(), states);
      out.write(b, step.begin, states);
      count(b, flops_of(children, level, inputs_.flops));
    }
  }

  void measure_batch(std::size_t b, LevelStates& states) const {
    const Tiling& tiling = inputs_.division.tiling;
    Readout readout(inputs_.fold, tiling.logits, batch(b), inputs_.requested, inputs_.database);
    if (inputs_.reference) readout.set_reference(states.read(b, *inputs_.reference, 1));
    const std::int64_t leaves = inputs_.plan.levels.back().nodes();
    std::vector<at::Tensor> parts;
    for (std::int64_t leaf = 0; leaf < leaves; leaf += tiling.children) {
      const std::int64_t nodes = std::min(tiling.children, leaves - leaf);
      parts.push_back(readout.measure(states.read(b, leaf, nodes)).to(at::kCPU).contiguous());
      count(b, inputs_.flops.readout() * static_cast<double>(nodes));
    }
    states.close(b);
    keep(b, parts);
  }

  // parts: f32 [children, metrics, sequences] each, of the leaves in order.
  void keep(std::size_t b, const std::vector<at::Tensor>& parts) const {
    const std::int64_t children = inputs_.division.tiling.children;
    const std::int64_t first = inputs_.dataset.first_value(begin_of(b));
    const std::int64_t n = inputs_.dataset.first_value(begin_of(b + 1)) - first;
    for (std::size_t i = 0; i < results_.size(); ++i) {
      const std::int64_t leaf = inputs_.plan.leaf[i];
      const at::Tensor& part = parts[static_cast<std::size_t>(leaf / children)];
      const float* from = part.const_data_ptr<float>() + leaf % children * part.size(1) * n;
      for (const MetricRow& row : inputs_.metrics) {
        std::copy_n(from, n, results_[i][row.metric].begin() + first);
        from += n;
      }
    }
  }

  const SweepInputs& inputs_;
  Meter& meter_;
  std::span<CandidateScores> results_;
  std::size_t batches_;
  KeptGivens givens_;
};

}  // namespace

void sweep(const SweepInputs& inputs, Meter& meter, std::span<CandidateScores> results) {
  Sweep(inputs, meter, results).run();
}

}  // namespace mnm
