// A search from the budgets to the confirmed front: strategies that share the time, each of which
// is a run in the store. A search that was stopped is gone on with by giving its run.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "dataset/examples.h"
#include "db/store.h"
#include "families/open_model.h"
#include "model/budget.h"
#include "model/cost.h"
#include "search/strategy.h"
#include "study/confirm.h"
#include "study/scorer.h"
#include "study/search_loop.h"

namespace mnm {

// The strategy of a search that names none.
inline constexpr const char* kDefaultStrategy = "surrogate";

// What is searched, and by what. The references and pointers outlive the session.
struct SearchRequest {
  const OpenedModel& opened;
  const Examples& data;               // the search part
  const Examples* confirm = nullptr;  // null: what is reported are the scores of the search part
  std::vector<Budget> budgets{};
  CostKind cost = CostKind::kParams;  // what the front trades against the metric
  Metric metric = Metric::kLoss;
  std::vector<std::string> strategies = {kDefaultStrategy};
  StrategySettings settings{};
  const LatencyTable* latency = nullptr;  // where that is a cost or a budget
  std::size_t batch = 256;                // submodels that are scored and kept together
  // Shared evenly by the strategies, counted from `started`; each stops after its first batch, or
  // the one under way, when its share is over. 0: no limit.
  double max_seconds = 0;
  std::chrono::steady_clock::time_point started = std::chrono::steady_clock::now();
};

// The problem that strategies are given. `costs` outlives it. UsageError where no submodel is
// within the budgets.
SearchProblem make_problem(const NestedModel& model, const CostTable& costs, CostKind cost,
                           std::span<const Budget> budgets);

// Who watches a search.
struct SearchWatch {
  // Before each batch and while one is scored. False: no other batch begins.
  std::function<bool(const RunRow&, const SearchStatus&)> progress{};
  std::function<void(const RunRow&, const SearchOutcome&)> ended{};
};

class SearchSession {
 public:
  // Touches neither store nor weights. UsageError for an unknown strategy, a bad setting, and where
  // no submodel is within the budgets.
  explicit SearchSession(const SearchRequest& request);
  SearchSession(const SearchSession&) = delete;
  SearchSession& operator=(const SearchSession&) = delete;

  const CostTable& costs() const { return costs_; }
  std::span<const std::unique_ptr<Strategy>> strategies() const { return strategies_; }

  // One run of the store for each strategy: new ones, or those of `resumed`'s session. Both outlive
  // this. `scorer` measures the metric. Of `kept` its settings, command line and seed are taken.
  // UsageError where `resumed` was of another model or other data.
  void begin(Store& store, Scorer& scorer, const RunRow& kept = {},
             const std::optional<RunRow>& resumed = {});
  const std::vector<RunRow>& runs() const { return runs_; }

  // True where every strategy has finished, else runs are stopped and can be resumed. Whatever is
  // thrown, what was scored is kept.
  bool search(const SearchWatch& watch = {});
  // Whether the watch asked to stop.
  bool stopped() const { return stopped_; }
  // Of the strategy under way; infinite without a limit.
  double seconds_left() const;

  // The front of all runs, its members scored on the confirm part (study/confirm.h).
  ConfirmedFront confirm(const ProgressSink& progress = {});

 private:
  double elapsed() const;
  SearchOutcome search_one(const RunRow& run, const SearchWatch& watch);
  Strategy& strategy_of(const RunRow& run);

  const SearchRequest request_;
  const CostTable costs_;
  const SearchProblem problem_;
  std::vector<std::unique_ptr<Strategy>> strategies_;  // as request_.strategies
  Store* store_ = nullptr;                             // from begin() on, as what follows
  Scorer* scorer_ = nullptr;
  RunRow kept_;
  std::vector<RunRow> runs_;
  double deadline_ = 0;  // of the strategy under way, in seconds elapsed
  bool stopped_ = false;
};

}  // namespace mnm
