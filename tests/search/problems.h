// Search problems of every kind, small enough to enumerate unless their name says otherwise, and
// the slow obvious way to list what is feasible in one.
#pragma once

#include <string>
#include <vector>

#include "search/strategy.h"
#include "tests/search/synthetic.h"

namespace mnm::test {

struct NamedProblem {
  std::string name;
  SearchProblem problem;
  bool small = true;
};

inline WidthSpace space_of(const std::vector<std::vector<Width>>& granularities) {
  WidthSpace space;
  for (const std::vector<Width>& layer : granularities) {
    space.layers.emplace_back().granularities = layer;
  }
  return space;
}

inline double squares(const Widths& widths) {  // another additive cost, steeper
  double sum = 0;
  for (const Width width : widths) sum += static_cast<double>(width) * width;
  return sum;
}

inline double widest_layer(const Widths& widths) {  // monotone, not additive
  double widest = 0;
  for (const Width width : widths) widest = std::max(widest, static_cast<double>(width));
  return widest;
}

inline std::vector<NamedProblem> problems() {
  std::vector<NamedProblem> all;
  const auto add = [&](std::string name, WidthSpace space, std::vector<Limit> limits,
                       bool small = true) {
    all.push_back({std::move(name),
                   {.space = std::move(space), .cost = total_width, .limits = std::move(limits)},
                   small});
  };
  add("one submodel", space_of({{7}}), {});
  add("one layer", space_of({{8, 16, 32}}), {});
  add("layers without a choice", space_of({{8}, {8, 16}, {8}}), {});
  add("different layers", space_of({{8, 16, 32}, {4, 6}, {10, 20, 30, 40}, {1, 2}}), {});
  add("five layers", four_widths(5), {});
  WidthSpace skipping = four_widths(4);
  skipping.layers[1].may_skip = skipping.layers[3].may_skip = true;
  add("skipping", skipping, {{"width", 900, total_width}});
  add("half a budget", four_widths(5), {{"width", 1280, total_width}});
  add("tight", four_widths(5), {{"width", 64 * 5 + 64, total_width}});
  add("narrowest only", four_widths(5), {{"width", 64 * 5, total_width}});
  add("loose", four_widths(5), {{"width", 1e9, total_width}});
  add("unlimited", four_widths(5), {{"width", INFINITY, total_width}});
  add("two budgets", four_widths(5), {{"width", 1300, total_width}, {"squares", 5e5, squares}});
  add("not additive", four_widths(5), {{"widest", 256, widest_layer}});
  add("40 layers", four_widths(40), {}, false);
  add("40 layers, half a budget", four_widths(40), {{"width", 40 * 128, total_width}}, false);
  add("40 layers, tight", four_widths(40), {{"width", 40 * 64 + 300, total_width}}, false);
  return all;
}

// The feasible submodels in lexicographic order.
inline std::vector<Widths> members_of(const SearchProblem& problem) {
  std::vector<Widths> all = {{}};
  for (std::size_t layer = 0; layer < problem.space.layers.size(); ++layer) {
    std::vector<Widths> longer;
    for (const Widths& prefix : all) {
      for (const Width width : problem.space.choices(layer)) {
        longer.push_back(prefix);
        longer.back().push_back(width);
      }
    }
    all = std::move(longer);
  }
  std::erase_if(all, [&](const Widths& widths) { return !problem.feasible(widths); });
  return all;
}

// A loss in whole numbers, the same on every machine: wide is good, late is better.
inline double plain_loss(const Widths& widths) {
  double loss = 1 << 20;
  for (std::size_t layer = 0; layer < widths.size(); ++layer) {
    loss -= static_cast<double>(widths[layer]) * static_cast<double>(layer + 1);
  }
  return loss;
}

inline Point result_of(const SearchProblem& problem, const Widths& widths) {
  return {problem.cost(widths), plain_loss(widths)};
}

// Runs a strategy to its end, asked for `batch` at a time (0: as it prefers); what it asked, in
// order.
inline std::vector<Widths> trace(Strategy& strategy, const SearchProblem& problem,
                                 std::size_t batch = 0) {
  std::vector<Widths> asked;
  while (!strategy.finished()) {
    const std::vector<Widths> some = strategy.ask(batch == 0 ? strategy.preferred_batch() : batch);
    if (some.empty()) return asked;  // stuck: callers find the trace too short
    for (const Widths& widths : some) strategy.tell(widths, result_of(problem, widths));
    asked.insert(asked.end(), some.begin(), some.end());
  }
  return asked;
}

}  // namespace mnm::test
