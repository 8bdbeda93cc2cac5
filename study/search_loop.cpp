#include "study/search_loop.h"

#include <algorithm>
#include <limits>
#include <set>
#include <string>

namespace mnm {
namespace {

Point point_of(const Record& record, double cost) {
  return {cost,
          record.status == "ok" ? record.loss.value : std::numeric_limits<double>::quiet_NaN()};
}

class Loop {
 public:
  explicit Loop(const SearchLoop& loop) : loop_(loop) {
    status_.total = loop.max_evaluations;
    const std::uint64_t asked = loop.strategy.total();
    if (asked > 0) status_.total = std::min(status_.total, asked);
    for (const Record& record : loop.store.records_of(loop.run)) {
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
    std::vector<std::optional<Record>> results;
    std::vector<Widths> unknown;
    for (const Widths& widths : candidates) {
      results.push_back(loop_.store.find(loop_.model, loop_.data, loop_.dtype, widths));
      if (!results.back()) unknown.push_back(widths);
    }
    if (!unknown.empty()) {
      std::vector<Record> scored =
          loop_.score(unknown, status_, [this](std::span<const Record> records) { keep(records); });
      status_.scored += scored.size();
      std::size_t next = 0;
      for (auto& result : results) {
        if (!result) result = std::move(scored[next++]);
      }
    }

    std::vector<Record> all;
    for (const auto& result : results) all.push_back(*result);
    keep(all);

    for (const auto& result : results) tell(*result);
  }

  // What the run does not refer to yet, in one transaction.
  void keep(std::span<const Record> records) {
    std::vector<Record> fresh;
    for (const Record& record : records) {
      if (!noted_.insert(to_string(record.widths)).second) continue;
      fresh.push_back(record);
      fresh.back().model = loop_.model;
      fresh.back().data = loop_.data;
    }
    if (!fresh.empty()) loop_.store.add(loop_.run, fresh);
  }

  void tell(const Record& record) {
    const Point point = point_of(record, loop_.cost(record.widths));
    loop_.strategy.tell(record.widths, point);
    ++status_.evaluations;
    if (record.status != "ok") return;
    if (!status_.best || record.loss.value < status_.best->loss.value) {
      status_.best = record;
      status_.best->losses.clear();
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
  std::set<std::string> noted_;  // widths that the run refers to already
  std::vector<Point> front_;
};

}  // namespace

SearchOutcome run_search(const SearchLoop& loop) { return Loop(loop).run(); }

}  // namespace mnm
