// The loop of a search. It asks the strategy for candidates, takes from the store the scores that
// it knows, scores the rest, stores them, and tells the strategy the results.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "base/error.h"
#include "db/store.h"
#include "search/strategy.h"
#include "study/halving.h"

namespace mnm {

// A replay asked for what the store does not hold.
class ReplayDiffers : public Error {
 public:
  using Error::Error;
};

struct SearchStatus {
  std::uint64_t evaluations = 0;  // results told so far, known ones included
  std::uint64_t scored = 0;       // of these, scored by this loop
  std::uint64_t examples = 0;     // that those were scored on, counted for each of them
  std::uint64_t total = 0;        // that there will be, at most
  std::size_t front = 0;          // members
  std::optional<Score> best;      // of those told, by the metric
  std::size_t batch = 0;          // candidates that are being scored, while some are,
  double under_way = 0;           // and evaluations' worth of them that is done
};

struct SearchLoop {
  Strategy& strategy;
  Store& store;
  const RunRow& run;              // of the store: its model, data and dtype
  Metric metric = Metric::kLoss;  // told to the strategy as an objective: less is better
  std::function<double(const Widths&)> cost{};  // told to the strategy beside the metric
  std::uint64_t max_evaluations = 0;
  std::size_t batch = 256;  // the most candidates per plan and per transaction
  // Puts scores into the store at once, so that a kill after it does not lose them.
  using Keep = std::function<void(std::span<const Score>)>;
  // Scores these candidates and returns the scores in order. The metric is among what is measured.
  // Scores that are ready early may be given to Keep meanwhile.
  std::function<std::vector<Score>(std::span<const Widths>, const SearchStatus&, const Keep&)>
      score{};
  // Called before each batch and at the end; false: stop here.
  std::function<bool(const SearchStatus&)> proceed{};
  // Given: each batch goes through these rounds, and `score` is not called. The strategy is told
  // the scores on all examples, and of the rest what is estimated, with its noise. Front and best
  // are of scores on all examples.
  const Halving* halving = nullptr;
  // The run is done and is gone through again, from its own scores alone. Nothing is scored and the
  // store is not written. ReplayDiffers if a score is missing: another version of a strategy may
  // ask for other candidates.
  bool replay = false;
};

struct SearchOutcome {
  SearchStatus status;
  bool finished = false;  // else it was stopped; running it again goes on from there
  // Of a finished search with halving: what ended early and is expected on the front all the same,
  // by the strategy's model if it has one.
  std::vector<ExpectedMember> expected{};
};

// Runs the search. Candidates that the store knows are not scored again, whoever scored them: the
// strategy is told their stored scores. So a strategy that starts from its beginning replays what a
// stopped run had done, and then goes on. The numbers of candidates that are asked for depend only
// on the strategy and on max_evaluations. Every batch is committed before the strategy is told.
SearchOutcome run_search(const SearchLoop& loop);

}  // namespace mnm
