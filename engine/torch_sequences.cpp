#include "engine/torch_sequences.h"

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include <algorithm>
#include <map>
#include <utility>

#include "engine/decode.h"
#include "engine/torch_error.h"
#include "fold/layer_step.h"

namespace mnm {
namespace {

// Tokens at the same widths that were fed in one step.
struct Fed {
  Widths widths;
  std::vector<std::int64_t> tokens;
};

struct Sequence {
  SequenceOptions options;
  std::vector<Fed> fed;
  std::int64_t length = 0;
  std::vector<LayerCache> caches;
};

// It goes back by feeding everything up to there again.
class TorchSequences final : public Sequences {
 public:
  TorchSequences(Fold& fold, const at::Device& device, const NestedModel& model)
      : fold_(fold), device_(device), model_(model) {}

  SequenceId open(const SequenceOptions& options) override {
    Sequence sequence;
    sequence.options = options;
    empty(sequence);
    const SequenceId id{next_++};
    sequences_.emplace(id, std::move(sequence));
    return id;
  }

  void close(SequenceId id) override {
    of(id);
    sequences_.erase(id);
  }

  std::int64_t length(SequenceId id) const override { return of(id).length; }

  bool reaches(SequenceId id, std::int64_t position) const override {
    return position >= 0 && position <= of(id).length;
  }

  void rewind(SequenceId id, std::int64_t position) override {
    Sequence& sequence = of(id);
    if (position != sequence.length) sequence = replayed(sequence, position);
  }

  SequenceId fork(SequenceId id, std::int64_t position) override {
    Sequence copy = replayed(of(id), position);
    const SequenceId made{next_++};
    sequences_.emplace(made, std::move(copy));
    return made;
  }

  std::vector<std::span<const float>> step(std::span<const Feed> feeds) override {
    logits_.clear();
    for (const Feed& feed : feeds) {
      model_.space.require(Widths(feed.widths.begin(), feed.widths.end()));
      if (feed.tokens.empty()) fail("a sequence was fed no token");
      logits_.push_back(extend(of(feed.sequence), feed));
    }
    std::vector<std::span<const float>> out;
    for (const at::Tensor& logits : logits_) {
      out.emplace_back(logits.const_data_ptr<float>(), static_cast<std::size_t>(logits.numel()));
    }
    return out;
  }

  std::uint64_t cache_bytes() const override {
    std::uint64_t bytes = 0;
    for (const auto& [id, sequence] : sequences_) {
      for (const LayerCache& cache : sequence.caches) {
        for (const at::Tensor& tensor : cache.tensors) bytes += tensor.nbytes();
      }
    }
    return bytes;
  }

 private:
  Sequence& of(SequenceId id) {
    const auto found = sequences_.find(id);
    if (found == sequences_.end())
      fail("there is no open sequence {}", static_cast<std::int64_t>(id));
    return found->second;
  }
  const Sequence& of(SequenceId id) const { return const_cast<TorchSequences*>(this)->of(id); }

  void empty(Sequence& sequence) const {
    sequence.length = 0;
    sequence.fed.clear();
    sequence.caches.assign(model_.layers(), {});
    for (LayerCache& cache : sequence.caches) cache.context = sequence.options.context;
  }

  Sequence replayed(const Sequence& from, std::int64_t position) {
    if (position < 0 || position > from.length) {
      fail("cannot go back to token {} of a sequence of {}", position, from.length);
    }
    Sequence sequence;
    sequence.options = from.options;
    empty(sequence);
    for (const Fed& fed : from.fed) {
      const auto count = std::min<std::int64_t>(position - sequence.length,
                                                static_cast<std::int64_t>(fed.tokens.size()));
      if (count == 0) break;
      extend(sequence, {.widths = fed.widths,
                        .tokens = std::span(fed.tokens).first(static_cast<std::size_t>(count))});
    }
    return sequence;
  }

  // f32 logits on the CPU.
  at::Tensor extend(Sequence& sequence, const Feed& feed) {
    const c10::AutoGradMode no_grad(false);
    return guarded("generating", device_, [&] {
      const Embedded start = fold_.embed({sequence_of(feed.tokens).to(device_)});
      State state = start.state;
      for (std::size_t l = 0; l < feed.widths.size(); ++l) {
        state = extend_layer(fold_, l, start.givens, state, feed.widths[l], sequence.length,
                             sequence.caches);
      }
      const auto tokens = static_cast<std::int64_t>(feed.tokens.size());
      const std::int64_t first = feed.every_position ? 0 : tokens - 1;
      State last;
      for (const at::Tensor& t : state.tensors) {
        last.tensors.push_back(t.narrow(2, first, tokens - first).contiguous());
      }
      const at::Tensor logits =
          fold_.logits(fold_.readout(last).flatten(0, 2)).to(at::kCPU, at::kFloat).contiguous();
      sequence.length += tokens;
      sequence.fed.push_back({Widths(feed.widths.begin(), feed.widths.end()),
                              {feed.tokens.begin(), feed.tokens.end()}});
      return logits;
    });
  }

  Fold& fold_;
  at::Device device_;
  const NestedModel& model_;
  std::map<SequenceId, Sequence> sequences_;
  std::int64_t next_ = 0;
  std::vector<at::Tensor> logits_;  // of the last step
};

}  // namespace

std::unique_ptr<Sequences> make_sequences(Fold& fold, const at::Device& device,
                                          const NestedModel& model) {
  return std::make_unique<TorchSequences>(fold, device, model);
}

}  // namespace mnm
