// Successive halving within a search (Jamieson and Talwalkar 2016): each batch of candidates is
// scored on few examples, the promising ones on more, the last ones on all.
//
// The examples of a round contain those of the round before. A candidate that ends early has a loss
// on a part of the examples, which no other dataset's losses can be compared with. What it would be
// on all examples is estimated from an anchor: a submodel with similar widths that was scored on
// all of them. The estimate is the anchor's loss plus the mean of the paired differences on the
// part.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "db/store.h"
#include "search/pareto.h"

namespace mnm {

struct HalvingRound {
  std::vector<std::int64_t> examples;  // ascending places in the dataset of the search
  RunRow run;                          // of the store, whose data is exactly these examples
};

// What ended early and is expected on the front all the same. `point`: its cost, as the strategy is
// told, and the objective that is expected on all examples.
struct ExpectedMember {
  Widths widths;
  Point point;
};

// What a search loop (study/search_loop.h) needs for it.
struct Halving {
  std::vector<HalvingRound> rounds;  // each contains the one before; the last has all examples
  // Scores these candidates on the examples that a round adds to the one before.
  std::function<std::vector<Score>(std::span<const Widths>, std::size_t round)> score{};
};

// The examples of the rounds: an eighth, a quarter, and all, evenly spread over the dataset.
// UsageError if there are fewer than 16 examples: an eighth of them has no standard error.
std::vector<std::vector<std::int64_t>> halving_rounds(std::int64_t examples);

// Of a batch, half goes on to the second round. To the last one goes at most one in so many of all
// candidates so far: enough to compare the others with. The rest of the tokens is for the end, when
// the results of all batches say more about each candidate: then the most promising of those that
// ended early are scored on all examples, until this share of the tokens is spent.
inline constexpr std::size_t kAnchors = 8;
inline constexpr double kHalvedShare = 0.4;
// A short search has tokens for few scores on all examples. If it has fewer than these, and one
// that ended early is expected to be the best, that one is scored on all examples for more tokens.
inline constexpr std::size_t kLeastWholes = 8;

// The scores on the examples `at`, of one score on `at_a` and one on the others.
Score joined(const Score& a, std::span<const std::int64_t> at_a, const Score& b,
             std::span<const std::int64_t> at);

// The score on the examples `at`, from one on all examples.
Score part_of(const Score& whole, std::span<const std::int64_t> at);

// The results of a search so far, by which it judges what is promising.
class HalvingJudge {
 public:
  HalvingJudge(Metric metric, std::function<double(const Widths&)> cost)
      : metric_(metric), cost_(std::move(cost)) {}

  // An objective on all examples, of which the smaller wins, and its standard error, given that on
  // all examples of the anchor. `cost` as the strategy is told.
  struct Standing {
    Point point;
    double error = 0;
  };

  void add(const Score& whole);  // scored on all examples
  std::size_t size() const { return wholes_.size(); }
  // Of a candidate that was scored on the examples `at`. Before the first result on all examples,
  // the objective is that of the part, and `peers` (scored on the same part) give the error.
  Standing of(const Score& part, std::span<const std::int64_t> at,
              std::span<const Score> peers) const;

  // At most `count` of these, the most promising first. That is, each adds the largest expected
  // area to the front of the results on all examples and of those chosen before it. Left out is
  // what the front beats by more than two standard errors, unless nothing else is left.
  std::vector<std::size_t> promising(std::span<const Standing> candidates, std::size_t count) const;

  // Which of these are on the front of the results on all examples and of all that is expected of
  // the candidates. Ascending.
  std::vector<std::size_t> expected_on_front(std::span<const Standing> candidates) const;

 private:
  struct Whole {
    Widths widths;
    Point point;
    std::vector<float> values;  // [examples]
  };

  Metric metric_;
  std::function<double(const Widths&)> cost_;
  std::vector<Whole> wholes_;  // those with finite values
  std::size_t examples_ = 0;
};

}  // namespace mnm
