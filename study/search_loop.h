// The ask/tell loop: a strategy asks, the store answers what it knows, the rest is scored, kept and
// told.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "db/store.h"
#include "search/strategy.h"

namespace mnm {

struct SearchStatus {
  std::uint64_t evaluations = 0;  // told so far, known ones included
  std::uint64_t scored = 0;       // of those, by this loop
  std::uint64_t total = 0;        // that there will be, at most
  std::size_t front = 0;          // members
  std::optional<Score> best;      // of those told, by the metric
  std::size_t batch = 0;          // candidates that are being scored, while some are,
  double under_way = 0;           // and evaluations' worth of them that is done
};

struct SearchLoop {
  Strategy& strategy;
  Store& store;
  const RunRow& run;                            // of the store: its model, data and dtype
  Metric metric = Metric::kLoss;                // that the strategy is told, so that less is better
  std::function<double(const Widths&)> cost{};  // and what it is told beside that
  std::uint64_t max_evaluations = 0;
  std::size_t batch = 256;  // candidates at most that are scored by one plan, in one transaction
  // Takes scores into the store at once, so that a kill after it does not lose them.
  using Keep = std::function<void(std::span<const Score>)>;
  // Scores of these candidates, in order, the metric among what is measured. Those that are done
  // before the others may be told to Keep meanwhile.
  std::function<std::vector<Score>(std::span<const Widths>, const SearchStatus&, const Keep&)>
      score{};
  // Called before each batch and at the end; false: stop here.
  std::function<bool(const SearchStatus&)> proceed{};
};

struct SearchOutcome {
  SearchStatus status;
  bool finished = false;  // else it was stopped, and running it again goes on where it was
};

// Candidates that the store knows are told and not scored, whoever scored them. A strategy asked
// again from its beginning therefore replays what a stopped run had done, and goes on: asked sizes
// hang on nothing but the strategy and max_evaluations. Every batch is committed before it is told.
SearchOutcome run_search(const SearchLoop& loop);

}  // namespace mnm
