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

namespace mnm {
namespace {

class Bench : ScoredTexts {
 public:
  using ScoredTexts::ScoredTexts;

  void print() {
    const WidthSpace& space = opened.model.space;
    const std::size_t levels = space.levels();
    std::vector<std::vector<std::vector<float>>> losses(levels);  // [first][then][sequence]
    for (std::size_t first = 0; first < levels; ++first) {
      losses[first].resize(levels);
      for (const Text& text : texts) add(text, first, losses[first]);
    }
    fmt::print(
        "{} sequences of {}; nats per token of the second half, less those of the widths "
        "from the start\n\n| first half | then",
        texts.size(), texts.front().inputs.size());
    for (std::size_t then = 0; then < levels; ++then) {
      fmt::print(" {} |", space.uniform(then).front());
    }
    fmt::print("\n");
    for (std::size_t first = 0; first < levels; ++first) {
      fmt::print("| {} |", space.uniform(first).front());
      for (std::size_t then = 0; then < levels; ++then) {
        const auto [mean, error, count] =
            paired_difference(losses[first][then], losses[then][then]);
        if (first == then) {
          fmt::print(" ({:.3f} in all) |", mean_of(losses[then][then]).value);
        } else {
          fmt::print(" {:+.4f} ± {:.4f} |", mean, error);
        }
      }
      fmt::print("\n");
    }
  }

 private:
  // One sequence's loss in its second half, for every level of that half.
  void add(const Text& text, std::size_t first, std::vector<std::vector<float>>& losses) {
    const WidthSpace& space = opened.model.space;
    const std::size_t half = text.inputs.size() / 2;
    const std::span<const std::int64_t> inputs(text.inputs);
    const SequenceId start = sequences->open({});
    const Widths widths = space.uniform(first);
    const Feed prompt{.sequence = start, .widths = widths, .tokens = inputs.first(half)};
    sequences->step({&prompt, 1});
    std::vector<Widths> wide;
    std::vector<Feed> feeds;
    for (std::size_t then = 0; then < space.levels(); ++then) wide.push_back(space.uniform(then));
    for (std::size_t then = 0; then < space.levels(); ++then) {
      feeds.push_back({.sequence = sequences->fork(start, static_cast<std::int64_t>(half)),
                       .widths = wide[then],
                       .tokens = inputs.subspan(half),
                       .every_position = true});
    }
    const auto logits = sequences->step(feeds);
    for (std::size_t then = 0; then < space.levels(); ++then) {
      losses[then].push_back(mean_loss(logits[then], std::span(text.targets).subspan(half)));
      sequences->close(feeds[then].sequence);
    }
    sequences->close(start);
  }
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
