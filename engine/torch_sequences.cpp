#include "engine/torch_sequences.h"

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "engine/torch_error.h"
#include "fold/batch.h"
#include "fold/kv_block.h"
#include "fold/layer_step.h"

namespace mnm {
namespace {

struct Sequence {
  SequenceOptions options;
  std::int64_t length = 0;
  std::int64_t floor = 0;          // below it, states are reached no more
  std::vector<LayerCache> caches;  // [layers]
};

class TorchSequences final : public Sequences {
 public:
  TorchSequences(Fold& fold, const at::Device& device, const NestedModel& model)
      : fold_(fold), device_(device), model_(model) {}

  SequenceId open(const SequenceOptions& options) override {
    Sequence sequence;
    sequence.options = options;
    empty(sequence);
    return add(std::move(sequence));
  }

  void close(SequenceId id) override {
    of(id);
    sequences_.erase(id);
  }

  std::int64_t length(SequenceId id) const override { return of(id).length; }

  bool reaches(SequenceId id, std::int64_t position) const override {
    const Sequence& sequence = of(id);
    if (position < 0 || position > sequence.length) return false;
    return position == 0 || !fold_.keeps_states() || position == sequence.length ||
           position >= sequence.floor;
  }

  void rewind(SequenceId id, std::int64_t position) override {
    require_reach(id, position);
    cut(of(id), position);
  }

  SequenceId fork(SequenceId id, std::int64_t position) override {
    require_reach(id, position);
    Sequence copy = of(id);
    cut(copy, position);
    return add(std::move(copy));
  }

  std::vector<std::span<const float>> step(std::span<const Feed> feeds) override {
    if (feeds.empty()) return {};
    require_feeds(feeds);
    const c10::AutoGradMode no_grad(false);
    guarded("generating", device_, [&] { logits_ = pass(feeds); });
    std::vector<std::span<const float>> out;
    const float* row = logits_.const_data_ptr<float>();
    const auto vocab = static_cast<std::size_t>(logits_.size(1));
    for (const Feed& feed : feeds) {
      const std::size_t rows = feed.every_position ? feed.tokens.size() : 1;
      out.emplace_back(row, rows * vocab);
      row += rows * vocab;
      Sequence& sequence = of(feed.sequence);
      sequence.length += static_cast<std::int64_t>(feed.tokens.size());
      const std::int64_t reach = feed.settled ? 0 : sequence.options.take_back;
      sequence.floor = std::max(sequence.floor, sequence.length - reach);
    }
    return out;
  }

  std::int64_t cache_block() const override {
    if (fold_.keeps_states()) return 1;
    return device_.is_cpu() ? kKvBlock : kKvLeast;
  }

  std::uint64_t cache_bytes() const override {
    std::set<const void*> counted;
    std::uint64_t bytes = 0;
    const auto count = [&](const std::vector<at::Tensor>& tensors) {
      for (const at::Tensor& tensor : tensors) {
        if (counted.insert(tensor.const_data_ptr()).second) bytes += tensor.nbytes();
      }
    };
    for (const auto& [id, sequence] : sequences_) {
      for (const LayerCache& cache : sequence.caches) {
        count(cache.tensors);
        for (const LayerCache::Earlier& earlier : cache.earlier) count(earlier.tensors);
      }
    }
    return bytes;
  }

 private:
  SequenceId add(Sequence sequence) {
    const SequenceId id{next_++};
    sequences_.emplace(id, std::move(sequence));
    return id;
  }

  const Sequence& of(SequenceId id) const {
    const auto found = sequences_.find(id);
    if (found == sequences_.end()) {
      fail("cannot find sequence {} among those that are open", static_cast<std::int64_t>(id));
    }
    return found->second;
  }
  Sequence& of(SequenceId id) { return const_cast<Sequence&>(std::as_const(*this).of(id)); }

  void require_reach(SequenceId id, std::int64_t position) const {
    if (reaches(id, position)) return;
    const Sequence& sequence = of(id);
    fail(
        "cannot take sequence {} of {} tokens back to token {}: it goes back to its start, or to "
        "any token from {} on; open it with a larger take_back",
        static_cast<std::int64_t>(id), sequence.length, position,
        fold_.keeps_states() ? std::min(sequence.floor, sequence.length) : 0);
  }

  void require_feeds(std::span<const Feed> feeds) const {
    std::set<SequenceId> seen;
    for (const Feed& feed : feeds) {
      of(feed.sequence);
      if (!seen.insert(feed.sequence).second) {
        fail("cannot feed sequence {} twice in one step", static_cast<std::int64_t>(feed.sequence));
      }
      if (feed.tokens.empty()) {
        fail("cannot feed sequence {} no token: give it one or more",
             static_cast<std::int64_t>(feed.sequence));
      }
      model_.space.require(Widths(feed.widths.begin(), feed.widths.end()));
    }
  }

  void empty(Sequence& sequence) const {
    sequence.length = sequence.floor = 0;
    sequence.caches.assign(model_.layers(), {});
    for (LayerCache& cache : sequence.caches) cache.context = sequence.options.context;
  }

  void cut(Sequence& sequence, std::int64_t position) const {
    if (position == 0) return empty(sequence);
    sequence.length = position;
    for (LayerCache& cache : sequence.caches) cache.rewind(position);
  }

  // f32 logits on the CPU: those of the first feed, of the second, ...: [rows, vocab].
  at::Tensor pass(std::span<const Feed> feeds) {
    std::vector<std::int64_t> tokens, scored;  // scored: rows whose logits are asked for
    std::vector<Run> runs;
    for (const Feed& feed : feeds) {
      Sequence& sequence = of(feed.sequence);
      const auto first = static_cast<std::int64_t>(tokens.size());
      tokens.insert(tokens.end(), feed.tokens.begin(), feed.tokens.end());
      const auto end = static_cast<std::int64_t>(tokens.size());
      for (std::int64_t row = feed.every_position ? first : end - 1; row < end; ++row) {
        scored.push_back(row);
      }
      if (fold_.keeps_states()) {
        for (LayerCache& cache : sequence.caches) {
          cache.take_back = feed.settled ? 0 : sequence.options.take_back;
          if (feed.settled) cache.earlier.clear();
        }
      }
      runs.push_back(
          {.tokens = end - first, .position = sequence.length, .caches = sequence.caches});
    }
    const Embedded start = fold_.embed({upload(tokens, device_).unsqueeze(0)});
    State state = start.state;
    for (std::size_t layer = 0; layer < model_.layers(); ++layer) {
      for (std::size_t i = 0; i < runs.size(); ++i) runs[i].width = feeds[i].widths[layer];
      state = extend_layer(fold_, layer, start.givens, state, runs);
    }
    if (scored.size() < tokens.size()) {
      const at::Tensor rows = at::tensor(scored, at::kLong).to(device_);
      for (at::Tensor& t : state.tensors) t = t.index_select(2, rows);
    }
    return fold_.logits(fold_.readout(state).flatten(0, 2)).to(at::kCPU, at::kFloat).contiguous();
  }

  Fold& fold_;
  at::Device device_;
  const NestedModel& model_;
  std::map<SequenceId, Sequence> sequences_;
  std::int64_t next_ = 0;
  at::Tensor logits_;  // of the last step
};

}  // namespace

std::unique_ptr<Sequences> make_sequences(Fold& fold, const at::Device& device,
                                          const NestedModel& model) {
  return std::make_unique<TorchSequences>(fold, device, model);
}

}  // namespace mnm
