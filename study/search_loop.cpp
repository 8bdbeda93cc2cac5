#include "study/search_loop.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <iterator>
#include <map>
#include <numeric>
#include <optional>
#include <set>
#include <string>

namespace mnm {
namespace {

class Loop {
 public:
  explicit Loop(const SearchLoop& loop) : loop_(loop), judge_(loop.metric, loop.cost) {
    status_.total = loop.max_evaluations;
    const std::uint64_t asked = loop.strategy.total();
    if (asked > 0) status_.total = std::min(status_.total, asked);
  }

  SearchOutcome run() {
    while (status_.evaluations < loop_.max_evaluations) {
      const std::uint64_t left = loop_.max_evaluations - status_.evaluations;
      const std::vector<Widths> asked = loop_.strategy.ask(static_cast<std::size_t>(
          std::min<std::uint64_t>(left, loop_.strategy.preferred_batch())));
      if (asked.empty()) break;
      for (std::size_t at = 0; at < asked.size(); at += loop_.batch) {
        if (!loop_.proceed(status_)) return {status_, false};
        const auto batch = std::span(asked).subspan(at, std::min(loop_.batch, asked.size() - at));
        if (loop_.halving != nullptr) {
          take_halved(batch);
        } else {
          take(batch);
        }
      }
    }
    if (loop_.halving != nullptr && !promote_the_last()) return {status_, false};
    status_.total = status_.evaluations;
    loop_.proceed(status_);
    return {status_, true, expected()};
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
      require_no_replay();
      std::vector<Score> scored =
          loop_.score(unknown, status_, [this](std::span<const Score> scores) { keep(scores); });
      status_.scored += scored.size();
      for (const Score& score : scored) {
        status_.examples += static_cast<std::uint64_t>(score.samples);
      }
      std::size_t next = 0;
      for (auto& result : results) {
        if (!result) result = std::move(scored[next++]);
      }
    }

    std::vector<Score> all;
    for (const auto& result : results) all.push_back(*result);
    keep(all);

    for (const auto& result : results) {
      const double objective = objective_of(loop_.metric, result->value(loop_.metric));
      tell(result->widths, {loop_.cost(result->widths), objective});
      note(*result);
    }
  }

  // What a run does not refer to yet, in one transaction.
  void keep(std::span<const Score> scores) { keep(scores, loop_.run.id); }
  void keep(std::span<const Score> scores, std::int64_t run) {
    if (!noted_.contains(run)) {
      for (const Record& record : loop_.store.records_of(run)) {
        noted_[run].insert(to_string(record.widths));
      }
    }
    std::vector<Score> added;
    for (const Score& score : scores) {
      if (noted_[run].insert(to_string(score.widths)).second) added.push_back(score);
    }
    if (added.empty()) return;
    require_no_replay();
    loop_.store.add(run, added);
  }

  void require_no_replay() const {
    if (loop_.replay) {
      throw ReplayDiffers(
          fmt::format("run {} is done, and this program asks for other submodels than it scored",
                      loop_.run.id));
    }
  }

  void tell(const Widths& widths, const Point& point, double noise = 0) {
    loop_.strategy.tell(widths, point, noise);
    ++status_.evaluations;
  }

  // Of a score on all examples.
  void note(const Score& score) {
    const double objective = objective_of(loop_.metric, score.value(loop_.metric));
    const Point point = {loop_.cost(score.widths), objective};
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

  // Halving. A candidate, and how far it got.
  struct Entrant {
    Score score;  // on the examples of that round
    std::size_t round = 0;
  };

  std::span<const std::int64_t> examples(std::size_t round) const {
    return loop_.halving->rounds[round].examples;
  }
  std::size_t last_round() const { return loop_.halving->rounds.size() - 1; }

  void take_halved(std::span<const Widths> candidates) {
    std::vector<Entrant> entrants(candidates.size());
    std::vector<std::size_t> left(candidates.size());
    std::iota(left.begin(), left.end(), std::size_t{0});
    for (std::size_t i = 0; i < candidates.size(); ++i) entrants[i].score.widths = candidates[i];
    for (std::size_t round = 0; round <= last_round() && !left.empty(); ++round) {
      advance(entrants, left, round);
      if (round == last_round()) break;
      std::vector<Score> peers;
      for (const std::size_t i : left) peers.push_back(entrants[i].score);
      std::vector<HalvingJudge::Standing> standings;
      for (const Score& peer : peers) {
        standings.push_back(judge_.of(peer, examples(round), peers));
      }
      std::size_t most = left.size() / 2;
      if (round + 1 == last_round()) {
        const std::uint64_t anchors = (status_.evaluations + candidates.size()) / kAnchors;
        most =
            std::min<std::size_t>(most, anchors - std::min<std::uint64_t>(anchors, judge_.size()));
      }
      if (judge_.size() == 0) most = std::max<std::size_t>(most, 1);
      std::vector<std::size_t> on;
      for (const std::size_t k : judge_.promising(standings, most)) on.push_back(left[k]);
      std::ranges::sort(on);
      left = std::move(on);
    }
    for (const std::size_t i : left) judge_.add(entrants[i].score);
    for (Entrant& entrant : entrants) {
      const auto [point, error] = judge_.of(entrant.score, examples(entrant.round), {});
      const bool whole = entrant.round == last_round();
      tell(entrant.score.widths, point, whole ? 0 : error);
      if (whole) {
        note(entrant.score);
      } else {
        ended_early_.push_back(std::move(entrant));
      }
    }
  }

  // Scores those that are left, and were scored in the round before, on the examples of a round.
  void advance(std::vector<Entrant>& entrants, std::span<const std::size_t> left,
               std::size_t round) {
    const HalvingRound& here = loop_.halving->rounds[round];
    std::vector<std::size_t> unknown;
    std::vector<Widths> widths;
    for (const std::size_t i : left) {
      spent_ += here.examples.size() - (round == 0 ? 0 : examples(entrants[i].round).size());
      std::optional<Score> known = stored(entrants[i].score.widths, round);
      if (known) {
        entrants[i] = {std::move(*known), round};
      } else {
        unknown.push_back(i);
        widths.push_back(entrants[i].score.widths);
      }
    }
    if (!unknown.empty()) {
      require_no_replay();
      std::vector<Score> scored = loop_.halving->score(widths, round);
      if (round == 0) status_.scored += scored.size();
      for (std::size_t k = 0; k < unknown.size(); ++k) {
        Entrant& entrant = entrants[unknown[k]];
        status_.examples += static_cast<std::uint64_t>(scored[k].samples);
        entrant.score =
            round == 0 ? std::move(scored[k])
                       : joined(entrant.score, examples(entrant.round), scored[k], here.examples);
        entrant.round = round;
      }
    }
    std::vector<Score> all;
    for (const std::size_t i : left) all.push_back(entrants[i].score);
    keep(all, here.run.id);
  }

  // A score on the examples of a round, where the store has it, or has it on all of them.
  std::optional<Score> stored(const Widths& widths, std::size_t round) const {
    for (const std::size_t at : {round, last_round()}) {
      const RunRow& run = loop_.halving->rounds[at].run;
      const std::optional<Record> record = loop_.store.find(run.model, run.data, run.dtype, widths);
      if (!record || !(*record)[loop_.metric]) continue;
      Score score = *record;
      for (const MetricRow& row : metric_table()) {
        if (score[row.metric]) {
          score.per_example[row.metric] = loop_.store.per_example(record->id, row.metric);
        }
      }
      if (score.per_example[loop_.metric].size() != examples(at).size()) continue;
      return at == round ? score : part_of(score, examples(round));
    }
    return std::nullopt;
  }

  // After the last batch: all examples for the most promising of those that ended early. False
  // where it was told to stop.
  bool promote_the_last() {
    const double all = static_cast<double>(examples(last_round()).size());
    const double most = kHalvedShare * all * static_cast<double>(status_.evaluations);
    while (true) {
      const std::vector<HalvingJudge::Standing> standings = standings_of_early();
      // What one that got no further than the first round needs.
      const double each = all - static_cast<double>(examples(0).size());
      const double room = std::max(0.0, (most - static_cast<double>(spent_)) / each);
      const std::size_t count = std::min(loop_.batch, static_cast<std::size_t>(room));
      std::vector<std::size_t> chosen = judge_.promising(standings, count);
      if (count == 0 || chosen.empty()) chosen = expected_best(standings);
      if (chosen.empty()) return true;
      if (!loop_.proceed(status_)) return false;
      promote(std::move(chosen));
    }
  }

  // The one of the smallest loss of those that ended early, if it is expected to be the best of all
  // and few were scored on all examples.
  std::vector<std::size_t> expected_best(std::span<const HalvingJudge::Standing> standings) const {
    if (judge_.size() >= kLeastWholes) return {};
    std::optional<std::size_t> best;
    for (std::size_t i = 0; i < standings.size(); ++i) {
      const double loss = standings[i].point.loss;
      if (!std::isfinite(loss) || (status_.best && loss >= best_)) continue;
      if (!best || loss < standings[*best].point.loss) best = i;
    }
    return best ? std::vector{*best} : std::vector<std::size_t>{};
  }

  // To all examples.
  void promote(std::vector<std::size_t> chosen) {
    std::ranges::sort(chosen);
    for (std::size_t round = 1; round <= last_round(); ++round) {
      std::vector<std::size_t> here;
      std::ranges::copy_if(chosen, std::back_inserter(here),
                           [&](std::size_t i) { return ended_early_[i].round == round - 1; });
      advance(ended_early_, here, round);
    }
    for (const std::size_t i : chosen) {
      judge_.add(ended_early_[i].score);
      note(ended_early_[i].score);
    }
    std::erase_if(ended_early_, [&](const Entrant& e) { return e.round == last_round(); });
  }

  // Of those that ended early, by what the strategy's model makes of all results, if it has one.
  std::vector<HalvingJudge::Standing> standings_of_early() const {
    std::map<Widths, HalvingJudge::Standing> believed;
    for (const Belief& belief : loop_.strategy.believed_results()) {
      believed[belief.widths] = {{belief.cost, belief.loss}, belief.deviation};
    }
    std::vector<HalvingJudge::Standing> standings;
    for (const Entrant& entrant : ended_early_) {
      const auto found = believed.find(entrant.score.widths);
      standings.push_back(found != believed.end()
                              ? found->second
                              : judge_.of(entrant.score, examples(entrant.round), {}));
    }
    return standings;
  }

  std::vector<ExpectedMember> expected() const {
    std::vector<ExpectedMember> expected;
    if (ended_early_.empty()) return expected;
    const std::vector<HalvingJudge::Standing> standings = standings_of_early();
    for (const std::size_t i : judge_.expected_on_front(standings)) {
      expected.push_back({ended_early_[i].score.widths, standings[i].point});
    }
    return expected;
  }

  const SearchLoop& loop_;
  SearchStatus status_;
  double best_ = 0;  // the objective of status_.best, where there is one
  std::map<std::int64_t, std::set<std::string>> noted_;  // widths that a run refers to already
  std::vector<Point> front_;

  // Of a search with halving.
  HalvingJudge judge_;
  std::vector<Entrant> ended_early_;
  std::uint64_t spent_ = 0;  // examples, of known scores too: what is promoted depends on it
};

}  // namespace

SearchOutcome run_search(const SearchLoop& loop) { return Loop(loop).run(); }

}  // namespace mnm
