// Sequences whose logits are given by a function of the widths and of all tokens so far: what tests
// of generating run on, without an engine.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <utility>
#include <vector>

#include "base/error.h"
#include "engine/sequences.h"

namespace mnm::test {

using Tokens = std::vector<std::int64_t>;

// What one token was fed as.
struct FedToken {
  std::int64_t token;
  Widths widths;
};

class TableSequences final : public Sequences {
 public:
  using Table = std::function<std::vector<float>(const std::vector<FedToken>&)>;
  explicit TableSequences(Table table) : table_(std::move(table)) {}

  SequenceId open(const SequenceOptions& options) override {
    const SequenceId id{next_++};
    open_[id] = {options, {}, 0};
    return id;
  }
  void close(SequenceId id) override { EXPECT_EQ(open_.erase(id), 1u); }
  std::int64_t length(SequenceId id) const override {
    return static_cast<std::int64_t>(open_.at(id).fed.size());
  }
  bool reaches(SequenceId id, std::int64_t position) const override {
    const Sequence& sequence = open_.at(id);
    return position == 0 || (position >= sequence.floor && position <= length(id));
  }
  void rewind(SequenceId id, std::int64_t position) override {
    if (!reaches(id, position)) fail("cannot take back so far");
    open_[id].fed.resize(static_cast<std::size_t>(position), {0, {}});
  }
  SequenceId fork(SequenceId id, std::int64_t position) override {
    const SequenceId copy{next_++};
    open_[copy] = open_.at(id);
    rewind(copy, position);
    return copy;
  }
  std::vector<std::span<const float>> step(std::span<const Feed> feeds) override {
    rows_.clear();
    for (const Feed& feed : feeds) {
      EXPECT_FALSE(feed.tokens.empty());
      longest = std::max(longest, feed.tokens.size());
      Sequence& sequence = open_.at(feed.sequence);
      std::vector<float> row;
      for (std::size_t i = 0; i < feed.tokens.size(); ++i) {
        fed.push_back(feed.tokens[i]);
        sequence.fed.push_back({feed.tokens[i], Widths(feed.widths.begin(), feed.widths.end())});
        if (!feed.every_position && i + 1 < feed.tokens.size()) continue;
        const std::vector<float> logits = table_(sequence.fed);
        row.insert(row.end(), logits.begin(), logits.end());
      }
      const std::int64_t reach = feed.settled ? 0 : sequence.options.take_back;
      sequence.floor = std::max(sequence.floor, length(feed.sequence) - reach);
      rows_.push_back(std::move(row));
    }
    return {rows_.begin(), rows_.end()};
  }
  std::uint64_t cache_bytes() const override { return 0; }

  std::size_t open_sequences() const { return open_.size(); }
  Tokens fed;  // of all sequences, in order
  std::size_t longest = 0;

 private:
  struct Sequence {
    SequenceOptions options;
    std::vector<FedToken> fed;
    std::int64_t floor = 0;
  };
  Table table_;
  std::map<SequenceId, Sequence> open_;
  std::int64_t next_ = 0;
  std::vector<std::vector<float>> rows_;
};

}  // namespace mnm::test
