// A strategy's queue of candidates that it asked for and has no result of yet, and the number of
// candidates so far.
#pragma once

#include <cstdint>
#include <deque>

#include "base/error.h"
#include "model/widths.h"

namespace mnm {

class AskQueue {
 public:
  void ask(const Widths& widths) {
    waiting_.push_back(widths);
    ++count_;
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
