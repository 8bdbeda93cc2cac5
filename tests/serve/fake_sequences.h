// An engine without a model: after token t of a sequence it says t + 1, or what a test sets. It
// checks what the real one demands, and counts what it is fed.
#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <cmath>
#include <functional>
#include <limits>
#include <map>
#include <set>
#include <thread>
#include <utility>
#include <vector>

#include "base/error.h"
#include "engine/sequences.h"

namespace mnm::test {

class FakeSequences final : public Sequences {
 public:
  explicit FakeSequences(std::int64_t vocabulary = 10) : vocabulary_(vocabulary) {}

  SequenceId open(const SequenceOptions& options) override {
    return make({{}, options.take_back, 0});
  }
  void close(SequenceId sequence) override { EXPECT_EQ(held_.erase(sequence), 1u); }
  std::int64_t length(SequenceId sequence) const override {
    return static_cast<std::int64_t>(held_.at(sequence).tokens.size());
  }
  bool reaches(SequenceId sequence, std::int64_t position) const override {
    return position == 0 || position == length(sequence) || tells_tokens_apart ||
           (position < length(sequence) && position >= held_.at(sequence).floor);
  }
  void rewind(SequenceId sequence, std::int64_t position) override {
    EXPECT_TRUE(reaches(sequence, position));
    held_.at(sequence).tokens.resize(static_cast<std::size_t>(position));
  }
  SequenceId fork(SequenceId sequence, std::int64_t position) override {
    EXPECT_TRUE(reaches(sequence, position));
    Held copy = held_.at(sequence);
    copy.tokens.resize(static_cast<std::size_t>(position));
    return make(std::move(copy));
  }

  std::vector<std::span<const float>> step(std::span<const Feed> feeds) override {
    if (before_step) std::exchange(before_step, nullptr)();
    if (step_takes.count() > 0) std::this_thread::sleep_for(step_takes);
    if (fails) fail("the engine is out of order");
    if (loses_device) throw DeviceLost("the device is gone");
    steps.emplace_back();
    logits_.clear();
    std::set<SequenceId> seen;
    for (const Feed& feed : feeds) {
      EXPECT_TRUE(seen.insert(feed.sequence).second) << "a sequence is fed twice";
      EXPECT_FALSE(feed.tokens.empty());
      Held& held = held_.at(feed.sequence);
      std::vector<float> rows;
      for (const std::int64_t token : feed.tokens) {
        EXPECT_LT(token, vocabulary_);
        held.tokens.push_back(token);
        ++fed;
        const std::vector<float> row = logits_after(token);
        if (feed.every_position) rows.insert(rows.end(), row.begin(), row.end());
        if (!feed.every_position) rows = row;
      }
      const std::int64_t reach = feed.settled ? 0 : held.take_back;
      held.floor = std::max(held.floor, length(feed.sequence) - reach);
      logits_.push_back(std::move(rows));
      steps.back().push_back({feed.widths.begin(), feed.widths.end()});
    }
    return {logits_.begin(), logits_.end()};
  }
  std::uint64_t cache_bytes() const override { return 0; }
  std::int64_t cache_block() const override { return block; }
  std::int64_t block = 1;  // what it says of itself

  // The successor has 2, its own successor 1, and all others 0.
  std::vector<float> logits_after(std::int64_t token) const {
    std::vector<float> row(static_cast<std::size_t>(vocabulary_), 0);
    row[static_cast<std::size_t>((token + 1) % vocabulary_)] = 2;
    row[static_cast<std::size_t>((token + 2) % vocabulary_)] = 1;
    if (token == nan_after) row[0] = std::numeric_limits<float>::quiet_NaN();
    return row;
  }

  std::size_t open_sequences() const { return held_.size(); }

  bool tells_tokens_apart = true;  // as keys and values do, and a state does not
  bool fails = false, loses_device = false;
  std::function<void()> before_step;  // before the next one
  std::chrono::milliseconds step_takes{0};
  std::int64_t nan_after = -1;
  std::int64_t fed = 0;                    // tokens in all
  std::vector<std::vector<Widths>> steps;  // the widths of each step's feeds

 private:
  struct Held {
    std::vector<std::int64_t> tokens;
    std::int64_t take_back = 0, floor = 0;  // a state reaches no further back than the floor
  };
  SequenceId make(Held held) {
    const auto id = static_cast<SequenceId>(++last_);
    held_.emplace(id, std::move(held));
    return id;
  }

  std::int64_t vocabulary_, last_ = 0;
  std::map<SequenceId, Held> held_;
  std::vector<std::vector<float>> logits_;
};

}  // namespace mnm::test
