#include "fold/sweep.h"

#include <c10/core/StreamGuard.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <malloc.h>

#include <algorithm>
#include <atomic>
#include <future>
#include <memory>
#include <vector>

#include "fold/batch.h"
#include "fold/device_error.h"
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
  Layers(Fold& fold, std::size_t count, const at::Device& device)
      : fold_(fold), count_(count), device_(device) {
    start(0);
  }
  Layers(const Layers&) = delete;
  Layers& operator=(const Layers&) = delete;
  ~Layers() {
    if (next_.valid()) next_.wait();
    loss_of(device_);  // a lost device has nothing under way
    for (std::size_t l = 0; l < count_; ++l) fold_.unload(l);
  }

  void enter(std::size_t layer) {
    next_.get();
    if (layer + 1 < count_) start(layer + 1);
  }
  void leave(std::size_t layer) {
    // What is queued may still read the weights, whose memory the other stream takes next.
    wait_for(device_);
    fold_.unload(layer);
    // Every layer is loaded by a thread of its own, and glibc keeps what is freed in the arena of
    // the thread that allocated it: how many layers stayed so was a matter of timing.
    if (device_.is_cpu()) malloc_trim(0);
  }

 private:
  void start(std::size_t layer) {
    next_ = std::async(std::launch::async, [this, layer] { load_apart(fold_, layer, device_); });
  }

  Fold& fold_;
  std::size_t count_;
  at::Device device_;
  std::future<void> next_;
};

class Sweep {
 public:
  Sweep(const SweepInputs& inputs, Meter& meter, std::span<CandidateScores> results)
      : inputs_(inputs),
        meter_(meter),
        results_(results),
        batches_(static_cast<std::size_t>(inputs.division.batches)) {}

  void run() {
    const PrefixTree& plan = inputs_.plan;
    Layers layers(inputs_.fold, plan.levels.size(), inputs_.room.device());
    auto states = std::make_unique<LevelStates>(inputs_.room, batches_);
    for_each_batch([&](std::size_t b) {
      const State root = inputs_.fold.embed(batch(b).tokens);
      states->open(b, 1, root);
      states->write(b, 0, root);
    });
    for (std::size_t level = 0; level < plan.levels.size(); ++level) {
      layers.enter(level);
      auto below = std::make_unique<LevelStates>(inputs_.room, batches_);
      const std::vector<std::int32_t> first = first_children(plan.levels[level]);
      for_each_batch([&](std::size_t b) {
        step_batch(level, first, b, *states, *below);
        states->close(b);
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
  void count(std::size_t b, double flops_per_token) const {
    meter_.add(flops_per_token * static_cast<double>(sequences_of(b) * inputs_.dataset.context));
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

  // Nodes of a level are grouped by parent: parent p's are [first[p], first[p + 1]).
  static std::vector<std::int32_t> first_children(const std::vector<PlanNode>& nodes) {
    std::vector<std::int32_t> first;
    for (std::size_t i = 0; i < nodes.size(); ++i) {
      if (i == 0 || nodes[i].parent != nodes[i - 1].parent) {
        first.push_back(static_cast<std::int32_t>(i));
      }
    }
    first.push_back(static_cast<std::int32_t>(nodes.size()));
    return first;
  }

  // In the chunks that a walk would take.
  void step_batch(std::size_t level, const std::vector<std::int32_t>& first, std::size_t b,
                  const LevelStates& parents, LevelStates& out) const {
    const Tiling& tiling = inputs_.division.tiling;
    const auto child = [&](std::int64_t parent) {
      return static_cast<std::int64_t>(first[static_cast<std::size_t>(parent)]);
    };
    const auto end = static_cast<std::int64_t>(first.size()) - 1;
    for (std::int64_t begin = 0, next = 0; begin < end; begin = next) {
      next = begin + 1;
      while (next < end && next - begin < tiling.parents &&
             child(next + 1) - child(begin) <= tiling.children) {
        ++next;
      }
      const State chunk = parents.read(b, begin, next - begin);
      for (std::int64_t c = child(begin); c < child(next); c += tiling.children) {
        step(level, chunk, begin, c, std::min(child(next), c + tiling.children), b, out);
      }
    }
  }

  void step(std::size_t level, const State& chunk, std::int64_t first_parent, std::int64_t begin,
            std::int64_t end, std::size_t b, LevelStates& out) const {
    const std::vector<PlanNode>& nodes = inputs_.plan.levels[level];
    std::vector<Child> children;
    double flops = 0;
    for (auto i = static_cast<std::size_t>(begin); i < static_cast<std::size_t>(end); ++i) {
      children.push_back(
          {nodes[i].parent - static_cast<std::int32_t>(first_parent), nodes[i].width});
      const bool widest =
          i + 1 == static_cast<std::size_t>(end) || nodes[i + 1].parent != nodes[i].parent;
      flops += inputs_.flops.sibling(level, nodes[i].width, widest);
    }
    const State states = inputs_.fold.step(level, chunk, children);
    if (begin == 0) out.open(b, static_cast<std::int64_t>(nodes.size()), states);
    out.write(b, begin, states);
    count(b, flops);
  }

  void measure_batch(std::size_t b, LevelStates& states) const {
    const Tiling& tiling = inputs_.division.tiling;
    Readout readout(inputs_.fold, tiling.logits, batch(b), inputs_.metrics.back().second_pass);
    if (inputs_.reference) readout.set_reference(states.read(b, *inputs_.reference, 1));
    const auto leaves = static_cast<std::int64_t>(inputs_.plan.levels.back().size());
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
    const std::int64_t children = inputs_.division.tiling.children, n = sequences_of(b);
    for (std::size_t i = 0; i < results_.size(); ++i) {
      const std::int64_t leaf = inputs_.plan.leaf[i];
      const at::Tensor& part = parts[static_cast<std::size_t>(leaf / children)];
      const float* from = part.const_data_ptr<float>() + leaf % children * part.size(1) * n;
      for (const MetricRow& row : inputs_.metrics) {
        std::copy_n(from, n, results_[i][row.metric].begin() + begin_of(b));
        from += n;
      }
    }
  }

  const SweepInputs& inputs_;
  Meter& meter_;
  std::span<CandidateScores> results_;
  std::size_t batches_;
};

}  // namespace

void sweep(const SweepInputs& inputs, Meter& meter, std::span<CandidateScores> results) {
  Sweep(inputs, meter, results).run();
}

}  // namespace mnm
