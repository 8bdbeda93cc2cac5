#include "study/search_loop.h"

#include <algorithm>
#include <cmath>
#include <set>
#include <string>

namespace mnm {
namespace {

class Loop {
 public:
  explicit Loop(const SearchLoop& loop) : loop_(loop) {
    status_.total = loop.max_evaluations;
    const std::uint64_t asked = loop.strategy.total();
    if (asked > 0) status_.total = std::min(status_.total, asked);
    for (const Record& record : loop.store.records_of(loop.run.id)) {
      noted_.insert(to_string(record.widths));
    }
  }

  SearchOutcome run() {
    while (status_.evaluations < loop_.max_evaluations) {
      const std::uint64_t left = loop_.max_evaluations - status_.evaluations;
      const std::vector<Widths> asked = loop_.strategy.ask(static_cast<std::size_t>(
          std::min<std::uint64_t>(left, loop_.strategy.preferred_batch())));
      if (asked.empty()) break;
      for (std::size_t at = 0; at < asked.size(); at += loop_.batch) {
        if (!loop_.proceed(status_)) return {status_, false};
        take(std::span(asked).subspan(at, std::min(loop_.batch, asked.size() - at)));
      }
    }
    status_.total = status_.evaluations;
    loop_.proceed(status_);
    return {status_, true};
  }

 private:
  void take(std::span<const Widths> candidates) {
    std::vector<std::optional<Score>> results;
    std::vector<Widths> unknown;
    for (const Widths& widths : candidates) {
      const RunRow& run = loop_.run;
      const std::optional<Record> known = loop_.store.find(run.model, run.data, run.dtype, widths);
      // A record that lacks the metric gains it.
      results.push_back(known && (*known)[loop_.metric] ? std::optional<Score>(*known)
                                                        : std::nullopt);
      if (!results.back()) unknown.push_back(widths);
    }
    if (!unknown.empty()) {
      std::vector<Score> scored =
          loop_.score(unknown, status_, [this](std::span<const Score> scores) { keep(scores); });
      status_.scored += scored.size();
      std::size_t next = 0;
      for (auto& result : results) {
        if (!result) result = std::move(scored[next++]);
      }
    }

    std::vector<Score> all;
    for (const auto& result : results) all.push_back(*result);
    keep(all);

    for (const auto& result : results) tell(*result);
  }

  // What the run does not refer to yet, in one transaction.
  void keep(std::span<const Score> scores) {
    std::vector<Score> added;
    for (const Score& score : scores) {
      if (noted_.insert(to_string(score.widths)).second) added.push_back(score);
    }
    if (!added.empty()) loop_.store.add(loop_.run.id, added);
  }

  void tell(const Score& score) {
    const double objective = objective_of(loop_.metric, score.value(loop_.metric));
    const Point point = {loop_.cost(score.widths), objective};
    loop_.strategy.tell(score.widths, point);
    ++status_.evaluations;
    if (std::isnan(objective)) return;
    if (!status_.best || objective < best_) {
      best_ = objective;
      status_.best = score;
      status_.best->per_example = {};
    }
    if (std::any_of(front_.begin(), front_.end(), [&](const Point& other) {
          return dominates(other, point) || (other.cost == point.cost && other.loss == point.loss);
        })) {
      return;
    }
    std::erase_if(front_, [&](const Point& other) { return dominates(point, other); });
    front_.push_back(point);
    status_.front = front_.size();
  }

  const SearchLoop& loop_;
  SearchStatus status_;
  double best_ = 0;              // the objective of status_.best, where there is one
  std::set<std::string> noted_;  // widths that the run refers to already
  std::vector<Point> front_;
};

}  // namespace

SearchOutcome run_search(const SearchLoop& loop) { return Loop(loop).run(); }

}  // namespace mnm
