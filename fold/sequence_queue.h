// A queue of ranges of sequences, which several workers take one after the other. Plain data.
#pragma once

#include <cstdint>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

namespace mnm {

// Sequences [begin, end).
struct SequenceRange {
  std::int64_t begin = 0, end = 0;
  std::int64_t size() const { return end - begin; }
};

// Several threads may call its functions at once.
class SequenceQueue {
 public:
  // Begins with all sequences, in that many pieces of nearly the same size.
  SequenceQueue(std::int64_t sequences, std::int64_t pieces) { add({0, sequences}, pieces); }

  // The next range. Nothing if none is left, or after stop().
  std::optional<SequenceRange> take() {
    const std::lock_guard lock(mutex_);
    if (stopped_ || ranges_.empty()) return std::nullopt;
    const SequenceRange range = ranges_.back();
    ranges_.pop_back();
    return range;
  }
  void put_back(const SequenceRange& range) {
    const std::lock_guard lock(mutex_);
    ranges_.push_back(range);
  }
  void stop() {
    const std::lock_guard lock(mutex_);
    stopped_ = true;
  }

  std::int64_t left() const {
    const std::lock_guard lock(mutex_);
    std::int64_t sum = 0;
    for (const SequenceRange& range : ranges_) sum += range.size();
    return sum;
  }
  // Starts again after stop(). What is left is cut into pieces of at most `most` sequences.
  void restart(std::int64_t most) {
    const std::lock_guard lock(mutex_);
    stopped_ = false;
    for (const SequenceRange& range : std::exchange(ranges_, {})) {
      add(range, (range.size() + most - 1) / most);
    }
  }

 private:
  // The first piece comes last, where it is taken first.
  void add(const SequenceRange& range, std::int64_t pieces) {
    for (std::int64_t i = pieces; i-- > 0;) {
      ranges_.push_back(
          {range.begin + range.size() * i / pieces, range.begin + range.size() * (i + 1) / pieces});
    }
  }

  mutable std::mutex mutex_;
  std::vector<SequenceRange> ranges_;  // the next one last
  bool stopped_ = false;
};

}  // namespace mnm
