#include "serve/time_steps.h"

#include <algorithm>

namespace mnm {
namespace {

// The median seconds of steps that give each of `rows` sequences `tokens` more tokens.
double time_step(Sequences& sequences, const Widths& widths, std::int64_t rows, std::int64_t tokens,
                 int repeats, const std::function<double()>& seconds) {
  const std::vector<std::int64_t> fed(static_cast<std::size_t>(tokens), 0);
  std::vector<OpenSequence> open;
  std::vector<Feed> feeds;
  for (std::int64_t i = 0; i < rows; ++i) {
    feeds.push_back({open.emplace_back(sequences, SequenceOptions{}).id(), widths, fed, false});
  }
  std::vector<double> taken;
  for (int i = 0; i <= repeats; ++i) {
    const double start = seconds();
    sequences.step(feeds);
    if (i > 0) taken.push_back(seconds() - start);  // the first warms up
    if (tokens > 1) {
      for (const Feed& feed : feeds) sequences.rewind(feed.sequence, 0);
    }
  }
  std::ranges::nth_element(taken, taken.begin() + repeats / 2);
  return taken[static_cast<std::size_t>(repeats / 2)];
}

}  // namespace

std::vector<TimedStep> time_steps(Sequences& sequences, const TimeStepsRequest& request,
                                  const std::function<double()>& seconds,
                                  const std::function<bool()>& go_on) {
  std::vector<std::pair<std::int64_t, std::int64_t>> shapes;  // sequences, tokens of each
  for (std::int64_t rows = 1; rows < request.most_rows; rows *= 2) shapes.emplace_back(rows, 1);
  shapes.emplace_back(request.most_rows, 1);
  if (request.most_prompt_rows > request.most_rows)
    shapes.emplace_back(1, request.most_prompt_rows);
  std::vector<TimedStep> steps;
  for (const auto& [rows, tokens] : shapes) {
    if (!go_on()) break;
    const auto all = rows * tokens;
    const auto add = [&](const Widths& widths, double flops) {
      steps.push_back({{all, static_cast<double>(all) * flops},
                       time_step(sequences, widths, rows, tokens, request.repeats, seconds)});
    };
    add(request.narrow, request.narrow_flops);
    if (request.wide != request.narrow) add(request.wide, request.wide_flops);
  }
  return steps;
}

}  // namespace mnm
