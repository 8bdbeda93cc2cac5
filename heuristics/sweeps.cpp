#include "heuristics/sweeps.h"

#include <algorithm>
#include <cstddef>
#include <set>
#include <utility>

namespace mnm {
namespace {

class Members {
 public:
  void add(Widths widths) {
    if (known_.insert(widths).second) list_.push_back(std::move(widths));
  }
  std::vector<Widths> list() && { return std::move(list_); }

 private:
  std::set<Widths> known_;
  std::vector<Widths> list_;
};

// Per layer the widths that searches draw from, ascending; skipping is none.
std::vector<std::vector<Width>> widths_of(const WidthSpace& space) {
  std::vector<std::vector<Width>> all;
  for (std::size_t layer = 0; layer < space.layers.size(); ++layer) {
    std::erase(all.emplace_back(space.choices(layer)), kSkip);
  }
  return all;
}

std::size_t most_of(const std::vector<std::vector<Width>>& choices) {
  std::size_t most = 0;
  for (const std::vector<Width>& layer : choices) most = std::max(most, layer.size());
  return most;
}

// Level `first` of each layer's granularities, but level `last` in the last k layers.
std::vector<Widths> suffixes(const WidthSpace& space, bool wide_first) {
  Members members;
  for (std::size_t narrow = 0; narrow < space.levels(); ++narrow) {
    for (std::size_t wide = narrow + 1; wide < space.levels(); ++wide) {
      const Widths before = space.uniform(wide_first ? wide : narrow);
      const Widths after = space.uniform(wide_first ? narrow : wide);
      for (std::size_t kept = before.size() + 1; kept-- > 0;) {
        Widths widths(before.begin(), before.begin() + static_cast<std::ptrdiff_t>(kept));
        widths.insert(widths.end(), after.begin() + static_cast<std::ptrdiff_t>(kept), after.end());
        members.add(std::move(widths));
      }
    }
  }
  if (space.levels() == 1) members.add(space.uniform(0));
  return std::move(members).list();
}

}  // namespace

std::vector<Widths> constant_schedule(const WidthSpace& space) {
  const std::vector<std::vector<Width>> choices = widths_of(space);
  const std::size_t levels = most_of(choices);
  std::vector<Widths> members;
  for (std::size_t level = 0; level < levels; ++level) {
    Widths& widths = members.emplace_back();
    for (const std::vector<Width>& layer : choices) {
      widths.push_back(layer[rank_of_level(level, levels, layer.size())]);
    }
  }
  return members;
}

std::vector<Widths> linear_decay_schedule(const WidthSpace& space) {
  const std::vector<std::vector<Width>> choices = widths_of(space);
  const std::size_t levels = most_of(choices);
  Members members;
  for (std::size_t top = 0; top < levels; ++top) {
    for (std::size_t run = 1; run <= choices.size(); ++run) {
      Widths widths;
      for (std::size_t layer = 0; layer < choices.size(); ++layer) {
        const std::size_t level = top - std::min(top, layer / run);
        widths.push_back(choices[layer][rank_of_level(level, levels, choices[layer].size())]);
      }
      members.add(std::move(widths));
    }
  }
  return std::move(members).list();
}

std::vector<Widths> wide_to_narrow_schedule(const WidthSpace& space) {
  return suffixes(space, true);
}

std::vector<Widths> narrow_to_wide_schedule(const WidthSpace& space) {
  return suffixes(space, false);
}

}  // namespace mnm
