// A whole search, from the budgets to the confirmed front. Several strategies may share its time;
// each is a run of its own in the store. To resume a search that was stopped, give one of its runs.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "dataset/example_subset.h"
#include "dataset/examples.h"
#include "db/store.h"
#include "families/open_model.h"
#include "model/cost.h"
#include "search/budget.h"
#include "search/strategy.h"
#include "study/confirm.h"
#include "study/scorer.h"
#include "study/search_loop.h"

namespace mnm {

// The strategy of a search that names none.
inline constexpr const char* kDefaultStrategy = "surrogate";

// The parts of the search part that halving scores on.
class HalvingParts {
 public:
  // `data` outlives it. UsageError if it has too few examples.
  explicit HalvingParts(const Examples& data);

  const std::vector<std::vector<std::int64_t>>& rounds() const { return rounds_; }
  // The examples of a round, and those that it adds to the round before.
  const Examples& of(std::size_t round) const { return *of_[round]; }
  const Examples& added_by(std::size_t round) const { return *added_by_[round]; }
  // All that are scored: what every rank must have (Scorer::serve).
  std::vector<const Examples*> scored() const;

 private:
  std::vector<std::vector<std::int64_t>> rounds_;
  std::vector<std::unique_ptr<const Examples>> of_, added_by_;  // [rounds]
};

// UsageError, which says what both are of, if a run that is resumed was of another model or data.
void require_same_search(const Store& store, const RunRow& run, const OpenedModel& opened,
                         const Examples& data);

// What is searched, and how. The references and pointers outlive the session.
struct SearchRequest {
  const OpenedModel& opened;
  const Examples& data;               // the search part
  const Examples* confirm = nullptr;  // null: the scores of the search part are reported
  std::vector<Budget> budgets{};
  CostKind cost = CostKind::kParams;  // what the front trades against the metric
  Metric metric = Metric::kLoss;
  std::vector<std::string> strategies = {kDefaultStrategy};
  StrategySettings settings{};
  const LatencyTable* latency = nullptr;  // needed if latency is the cost or has a budget
  // The measurement that the table is of. Given: at the end the members of the front are timed as
  // wholes, if the search runs where this was measured.
  const LatencyRow* counted_with = nullptr;
  CacheLoad cache{};                  // what memory is counted with
  const WidthSpace* space = nullptr;  // within bounds of the user's; null: all of the model's
  std::size_t batch = 256;            // submodels that are scored and kept together
  // The parts that halving (study/halving.h) scores on. Null: everything is scored on all examples.
  const HalvingParts* halving = nullptr;
  // Counted from `started`, and shared evenly by the strategies. When the share of a strategy is
  // over, it finishes the batch that is being scored and stops. Each scores at least one batch. 0:
  // no limit.
  double max_seconds = 0;
  std::chrono::steady_clock::time_point started = std::chrono::steady_clock::now();
};

// The problem that strategies are given. `costs` outlives it. UsageError if no submodel is within
// the budgets; it says so if `unbounded`, the space without the user's bounds, has one.
SearchProblem make_problem(const WidthSpace& space, const CostTable& costs, CostKind cost,
                           std::span<const Budget> budgets, const WidthSpace* unbounded = nullptr);

// Who watches a search.
struct SearchWatch {
  // Called before each batch and while one is scored. If it returns false, no other batch begins.
  std::function<bool(const RunRow&, const SearchStatus&)> progress{};
  std::function<void(const RunRow&, const SearchOutcome&)> ended{};
};

class SearchSession {
 public:
  // Touches neither the store nor the weights. UsageError for an unknown strategy or a bad setting,
  // and if no submodel is within the budgets.
  explicit SearchSession(const SearchRequest& request);
  SearchSession(const SearchSession&) = delete;
  SearchSession& operator=(const SearchSession&) = delete;

  const CostTable& costs() const { return costs_; }
  std::span<const std::unique_ptr<Strategy>> strategies() const { return strategies_; }

  // Begins one run of the store for each strategy, or goes on with the runs of the search that
  // `resumed` belongs to. The store and the scorer outlive the session. The scorer measures the
  // metric. Settings, command line and seed of new runs are those of `kept`. UsageError if
  // `resumed` is of another model or other data.
  void begin(Store& store, Scorer& scorer, const RunRow& kept = {},
             const std::optional<RunRow>& resumed = {});
  const std::vector<RunRow>& runs() const { return runs_; }

  // Runs the strategies. Returns true if all have finished; else the runs were stopped and can be
  // resumed. Scores are kept, whatever this throws.
  bool search(const SearchWatch& watch = {});
  // Whether the watch asked to stop.
  bool stopped() const { return stopped_; }
  // What is left of the running strategy's share; infinite without a limit.
  double seconds_left() const;

  // Scores the members of the front of all runs on the confirm part, with those that a search with
  // halving expects on it, and times them if latency was counted (study/confirm.h). The sinks are
  // of one and of the other. max_seconds are the strategies': they bound neither.
  ConfirmedFront confirm(const ProgressSink& progress = {}, const ProgressSink& timing = {});

 private:
  double elapsed() const;
  std::string why_not_timed_here() const;
  SearchOutcome search_one(const RunRow& run, const SearchWatch& watch);
  SearchOutcome search_halved(const RunRow& run, SearchLoop& loop);
  void expect_again(const RunRow& run, const SearchWatch& watch);
  RunRow begin_part(const RunRow& whole, const Examples& part);
  Strategy& strategy_of(const RunRow& run);

  const SearchRequest request_;
  const CostTable costs_;
  const SearchProblem problem_;
  std::vector<std::unique_ptr<Strategy>> strategies_;  // as request_.strategies
  Store* store_ = nullptr;                             // from begin() on, as what follows
  Scorer* scorer_ = nullptr;
  RunRow kept_;
  std::vector<RunRow> runs_;
  std::vector<ExpectedMember> expected_;  // on the front, by searches with halving
  double deadline_ = 0;                   // of the strategy under way, in seconds elapsed
  bool stopped_ = false;
};

}  // namespace mnm
