// What `generate --adaptive` gains: the second half of each text is computed at NARROW, and again
// at WIDE where the prediction is unsure, for several margins; the first half at WIDE. Beside it
// fixed submodels, from the start of the text. Prints a JSON object for each, one a line.
//
//   build/release/bin/adaptive MODEL DATA SEQUENCES CONTEXT NARROW WIDE [WIDTHS]...
#include <fmt/format.h>

#include <cstdlib>
#include <exception>
#include <vector>

#include "bench/scored_texts.h"
#include "generate/adaptive_widths.h"
#include "model/cost.h"

namespace mnm {
namespace {

constexpr double kMargins[] = {0, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.97, 1};

class Bench : ScoredTexts {
 public:
  using ScoredTexts::ScoredTexts;

  Widths widths_of(const std::string& text) const {
    Widths widths = parse_widths(text, opened.model.layers());
    opened.model.space.require(widths);
    return widths;
  }

  // `whole`: fixed(wide).
  void print_adaptive(const Widths& narrow, const Widths& wide, const std::vector<float>& whole) {
    for (const double margin : kMargins) {
      std::int64_t computed = 0, unsure = 0;
      std::vector<float> losses;
      for (const Text& text : texts) {
        Sampler sampler(Sampling{});
        Random random(1);
        AdaptiveWidths source(*sequences, 0, narrow, wide, margin, sampler, random);
        const std::size_t half = text.inputs.size() / 2;
        source.read(std::span(text.inputs).first(half));
        double sum = 0;
        for (std::size_t i = half; i < text.inputs.size(); ++i) {
          sum += loss_of(source.feed({&text.inputs[i], 1}), text.targets[i]);
        }
        losses.push_back(static_cast<float>(sum / static_cast<double>(text.inputs.size() - half)));
        computed += source.computed();
        unsure += source.wide();
      }
      const double share = static_cast<double>(unsure) / static_cast<double>(computed);
      const auto [more, error, count] = paired_difference(losses, whole);
      fmt::print(
          "{{\"margin\": {}, \"wide_share\": {:.4f}, \"loss\": {:.5f}, \"more_than_wide\": "
          "{:.5f}, \"standard_error\": {:.5f}, \"flops\": {:.0f}}}\n",
          margin, share, mean_of(losses).value, more, error, flops(narrow) + share * flops(wide));
    }
  }

  void print_fixed(const Widths& widths, const std::vector<float>& whole) {
    const std::vector<float> losses = fixed(widths);
    const auto [more, error, count] = paired_difference(losses, whole);
    fmt::print(
        "{{\"widths\": \"{}\", \"loss\": {:.5f}, \"more_than_wide\": {:.5f}, "
        "\"standard_error\": {:.5f}, \"flops\": {:.0f}}}\n",
        to_string(widths), mean_of(losses).value, more, error, flops(widths));
  }

  // Each text's loss in its second half.
  std::vector<float> fixed(const Widths& widths) {
    std::vector<float> losses;
    for (const Text& text : texts) {
      const SequenceId sequence = sequences->open({});
      const Feed feed{
          .sequence = sequence, .widths = widths, .tokens = text.inputs, .every_position = true};
      const std::span<const float> logits = sequences->step({&feed, 1}).front();
      const std::size_t half = text.inputs.size() / 2, vocab = logits.size() / text.inputs.size();
      losses.push_back(
          mean_loss(logits.subspan(half * vocab), std::span(text.targets).subspan(half)));
      sequences->close(sequence);
    }
    return losses;
  }

 private:
  double flops(const Widths& widths) const {
    return static_cast<double>(cost_of(opened.model, widths, {}).flops);
  }
};

}  // namespace
}  // namespace mnm

int main(int count, char** words) {
  if (count < 7) {
    fmt::print(stderr, "usage: {} MODEL DATA SEQUENCES CONTEXT NARROW WIDE [WIDTHS]...\n",
               words[0]);
    return 2;
  }
  try {
    mnm::Bench bench(words[1], words[2], std::atoll(words[3]), std::atoll(words[4]));
    const mnm::Widths narrow = bench.widths_of(words[5]), wide = bench.widths_of(words[6]);
    const std::vector<float> whole = bench.fixed(wide);
    bench.print_adaptive(narrow, wide, whole);
    for (int i = 7; i < count; ++i) bench.print_fixed(bench.widths_of(words[i]), whole);
  } catch (const std::exception& error) {
    fmt::print(stderr, "{}\n", error.what());
    return 1;
  }
}
