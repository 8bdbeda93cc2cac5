// A strategy's queue of candidates that it asked for and has no result of yet, and the number of
// candidates so far.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <vector>

#include "base/error.h"
#include "model/widths.h"
#include "search/feasible_set.h"

namespace mnm {

class AskQueue {
 public:
  void ask(const Widths& widths) {
    waiting_.push_back(widths);
    ++count_;
  }

  // Asks for the first `n` members of `chosen`, or for all if they are fewer. They leave `chosen`.
  std::vector<Widths> ask_first(std::size_t n, std::deque<Levels>& chosen, const FeasibleSet& set) {
    std::vector<Widths> batch;
    while (batch.size() < n && !chosen.empty()) {
      batch.push_back(set.widths(chosen.front()));
      chosen.pop_front();
      ask(batch.back());
    }
    return batch;
  }

  // Error unless `widths` is the oldest candidate that waits, since results come in the order of
  // asking.
  void tell(const Widths& widths) {
    if (waiting_.empty()) {
      fail("a strategy was told the result of {}, but none of its candidates waits for one",
           to_string(widths));
    }
    if (waiting_.front() != widths) {
      fail("a strategy was told the result of {}, but the next in the order of asking is {}",
           to_string(widths), to_string(waiting_.front()));
    }
    waiting_.pop_front();
  }

  std::uint64_t count() const { return count_; }  // asked so far
  std::size_t waiting() const { return waiting_.size(); }

 private:
  std::deque<Widths> waiting_;
  std::uint64_t count_ = 0;
};

}  // namespace mnm
