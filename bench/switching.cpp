// What a change of widths costs in loss: sequences whose first half was computed at one granularity
// and that go on at another, with the cache that is there, against the second granularity from the
// start. All pairs of granularities.
//
//   build/release/bin/switching MODEL DATA [SEQUENCES] [CONTEXT]
#include <fmt/format.h>

#include <cstdlib>
#include <exception>
#include <vector>

#include "bench/scored_texts.h"
#include "engine/engine.h"
#include "families/open_model.h"

namespace mnm {
namespace {

class Bench {
 public:
  Bench(const std::string& directory, const std::string& data, std::int64_t count,
        std::int64_t context)
      : opened_(open_model(directory)),
        session_(open_engine("cpu").load(opened_.model, opened_.checkpoint, options_)),
        sequences_(session_->sequences()),
        texts_(read_texts(data, opened_.model, count, context)) {}

  void print() {
    const WidthSpace& space = opened_.model.space;
    const std::size_t levels = space.levels();
    std::vector<std::vector<std::vector<double>>> losses(levels);  // [first][then][sequence]
    for (std::size_t first = 0; first < levels; ++first) {
      losses[first].resize(levels);
      for (const Text& text : texts_) add(text, first, losses[first]);
    }
    fmt::print(
        "{} sequences of {}; nats per token of the second half, less those of the widths "
        "from the start\n\n| first half | then",
        texts_.size(), texts_.front().inputs.size());
    for (std::size_t then = 0; then < levels; ++then) {
      fmt::print(" {} |", space.uniform(then).front());
    }
    fmt::print("\n");
    for (std::size_t first = 0; first < levels; ++first) {
      fmt::print("| {} |", space.uniform(first).front());
      for (std::size_t then = 0; then < levels; ++then) {
        const auto [mean, error] = paired_difference(losses[first][then], losses[then][then]);
        if (first == then) {
          fmt::print(" ({:.3f} in all) |", mean_of(losses[then][then]));
        } else {
          fmt::print(" {:+.4f} ± {:.4f} |", mean, error);
        }
      }
      fmt::print("\n");
    }
  }

 private:
  // One sequence's loss in its second half, for every level of that half.
  void add(const Text& text, std::size_t first, std::vector<std::vector<double>>& losses) {
    const WidthSpace& space = opened_.model.space;
    const std::size_t half = text.inputs.size() / 2;
    const std::span<const std::int64_t> inputs(text.inputs);
    const SequenceId start = sequences_->open({});
    const Widths widths = space.uniform(first);
    const Feed prompt{.sequence = start, .widths = widths, .tokens = inputs.first(half)};
    sequences_->step({&prompt, 1});
    std::vector<Widths> wide;
    std::vector<Feed> feeds;
    for (std::size_t then = 0; then < space.levels(); ++then) wide.push_back(space.uniform(then));
    for (std::size_t then = 0; then < space.levels(); ++then) {
      feeds.push_back({.sequence = sequences_->fork(start, static_cast<std::int64_t>(half)),
                       .widths = wide[then],
                       .tokens = inputs.subspan(half),
                       .every_position = true});
    }
    const auto logits = sequences_->step(feeds);
    const std::size_t rest = text.inputs.size() - half;
    for (std::size_t then = 0; then < space.levels(); ++then) {
      const std::size_t vocab = logits[then].size() / rest;
      double sum = 0;
      for (std::size_t i = 0; i < rest; ++i) {
        sum += loss_of(logits[then].subspan(i * vocab, vocab), text.targets[half + i]);
      }
      losses[then].push_back(sum / static_cast<double>(rest));
      sequences_->close(feeds[then].sequence);
    }
    sequences_->close(start);
  }

  OpenedModel opened_;
  DeviceOptions options_ = {.dtype = Dtype::kF32};
  std::unique_ptr<ModelSession> session_;
  std::unique_ptr<Sequences> sequences_;
  std::vector<Text> texts_;
};

}  // namespace
}  // namespace mnm

int main(int count, char** words) {
  if (count < 3) {
    fmt::print(stderr, "usage: {} MODEL DATA [SEQUENCES] [CONTEXT]\n", words[0]);
    return 2;
  }
  try {
    mnm::Bench(words[1], words[2], count > 3 ? std::atoll(words[3]) : 64,
               count > 4 ? std::atoll(words[4]) : 256)
        .print();
  } catch (const std::exception& error) {
    fmt::print(stderr, "{}\n", error.what());
    return 1;
  }
}
