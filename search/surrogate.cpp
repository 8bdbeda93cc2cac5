// Search by a model of the losses, for evaluations that cost minutes. A Bayesian linear model over
// the steps of single layers and of pairs of layers (surrogate_model.h) is conditioned on all
// results, and asked which submodels are expected to add most area to the front:
// - It starts from a designed set (designed_start.h).
// - Then it asks in batches, the next one when all results of the last are in. Each member is the
//   one of largest expected gain in hypervolume (expected_improvement.h), once those chosen before
//   it are taken to have the losses that are expected of them; so where the model is uncertain, and
//   that uncertainty might pay, it explores.
// - Among which members: those near the front that the model predicts (candidate_pool.h).
// - Every fourth member of a batch is chosen by a second model, without the pairs of particular
//   layers. Near the front some layers change together only. Then the results leave open whether a
//   layer matters or a pair does, and the first model can be wrong about it and sure. It would
//   never ask for what could show that. The second model has fewer explanations.
// Losses far outside the others' range are moved to its edge: a model of the front need not know
// how bad the worst is. Failed candidates say nothing. Where the results do not differ, there is
// nothing to model, and members are drawn uniformly.
#include <algorithm>
#include <cmath>
#include <deque>
#include <numeric>
#include <optional>
#include <span>

#include "base/error.h"
#include "search/ask_queue.h"
#include "search/candidate_pool.h"
#include "search/designed_start.h"
#include "search/expected_improvement.h"
#include "search/feasible_set.h"
#include "search/layer_sensitivity.h"
#include "search/member_sampler.h"
#include "search/strategies.h"
#include "search/surrogate_model.h"

namespace mnm {
namespace {

constexpr std::size_t kCandidates = 800;  // whose expected gain is computed
constexpr std::uint64_t kSmallestBatch = 8, kLargestBatch = 64;
constexpr std::size_t kModelled = 640;  // results at most, so that a batch takes about a second
// Of the costs' range, that the best losses' area extends over. The box ends at the worst loss: the
// designed start has the ends of the space, so that is a loss of the front's own scale. (box_corner
// is for results of which some are far off the front.)
constexpr double kMargin = 0.02;
constexpr double kFarOut = 20;  // ranges between quartile and median, beyond which losses are cut
constexpr std::size_t kSecondOpinion = 4;  // one in so many members of a batch
constexpr double kThoroughly = 1.5;  // growth of the results from one thorough fit to the next

// Candidates for one batch, as the posterior sees them.
struct Seen {
  std::vector<SurrogateModel::View> views;
  std::vector<double> costs, variances;  // the latter given what was chosen
  std::vector<bool> chosen;
  std::vector<std::vector<double>> known;  // [chosen][views]: what choosing it taught of each

  // Takes `best`'s loss as known from now on: one more column of a Cholesky factor.
  void choose(const SurrogateModel& model, std::size_t best) {
    chosen[best] = true;
    std::vector<double> column(views.size(), 0);
    const double deviation = std::sqrt(variances[best]);
    for (std::size_t i = 0; i < views.size() && deviation > 0; ++i) {
      if (chosen[i]) continue;
      double covariance = model.covariance(views[i], views[best]);
      for (const std::vector<double>& earlier : known) covariance -= earlier[i] * earlier[best];
      column[i] = covariance / deviation;
      variances[i] = std::max(0.0, variances[i] - column[i] * column[i]);
    }
    known.push_back(std::move(column));
  }
};

class SurrogateSearch final : public Strategy {
 public:
  SurrogateSearch(const SearchProblem& problem, const StrategySettings& settings)
      : set_(problem),
        random_(settings.seed),
        sampler_(set_, random_),
        model_(set_),
        simple_(set_, SurrogateModel::Pairs::kShared) {
    total_ = set_.count(settings.max_evaluations);
    const bool listed = set_.count(kListedMembers + 1) <= kListedMembers;
    pool_ = listed ? make_listed_pool(set_) : make_searched_pool(set_);
    designed_ = designed_start_size(set_, total_);
    std::vector<Levels> start = designed_start(set_, designed_, random_);
    if (settings.from_sensitivity) {
      for (Levels& member : sensitivity_members(set_)) {
        const bool there = std::ranges::find(start, member) != start.end();
        if (!there && start.size() < total_) start.push_back(std::move(member));
      }
      designed_ = std::max(designed_, start.size());
    }
    random_.shuffle(start);
    for (Levels& member : start) {
      sampler_.take(member);
      queue_.push_back(std::move(member));
    }
    while (queue_.size() < designed_) queue_.push_back(sampler_.draw());
  }
  // sampler_ and others refer to their neighbours.
  SurrogateSearch(const SurrogateSearch&) = delete;
  SurrogateSearch& operator=(const SurrogateSearch&) = delete;

  std::vector<Widths> ask(std::size_t n) override {
    if (queue_.empty() && asked_.waiting() == 0 && !finished()) fill_queue();
    return asked_.ask_first(n, queue_, set_);
  }

  void tell(const Widths& widths, const Point& result, double noise) override {
    asked_.tell(widths);
    if (!std::isfinite(result.loss) || !std::isfinite(result.cost)) return;
    if (!(noise >= 0 && std::isfinite(noise))) {
      fail("surrogate was told a loss of {} whose noise is {}: it must be 0 or more",
           to_string(widths), noise);
    }
    members_.push_back(set_.levels_of(widths));
    results_.push_back(result);
    noises_.push_back(noise);
  }

  bool finished() const override { return asked_.count() == total_; }
  std::size_t preferred_batch() const override {
    return static_cast<std::size_t>(std::min(kLargestBatch, total_));
  }
  std::uint64_t total() const override { return total_; }
  std::string description() const override {
    return fmt::format("surrogate, {} (the first {} designed)", total_, designed_);
  }

  std::vector<Belief> believed_front() const override;
  std::vector<Belief> believed_results() const override;

 private:
  std::vector<Belief> beliefs_of(const SurrogateModel& model,
                                 std::span<const std::size_t> rows) const;
  bool nothing_to_model() const {
    return std::ranges::all_of(results_,
                               [&](const Point& p) { return p.loss == results_[0].loss; });
  }

  // The losses, but for what lies far out.
  std::vector<double> cut_losses() const {
    std::vector<double> losses;
    for (const Point& result : results_) losses.push_back(result.loss);
    std::vector<double> sorted = losses;
    std::ranges::sort(sorted);
    const double median = sorted[sorted.size() / 2];
    const double low = median - kFarOut * (sorted[sorted.size() * 3 / 4] - median);
    const double high = median + kFarOut * (median - sorted[sorted.size() / 4]);
    if (low < median && median < high) {
      for (double& loss : losses) loss = std::clamp(loss, low, high);
    }
    return losses;
  }

  // The next batch, into the queue.
  void fill_queue() {
    const auto size = static_cast<std::size_t>(std::min(
        total_ - asked_.count(), std::clamp(asked_.count() / 6, kSmallestBatch, kLargestBatch)));
    if (!nothing_to_model()) choose(size);
    while (queue_.size() < size) queue_.push_back(sampler_.draw());
  }

  // The results that are modelled, in order: all, or of many those that fewest others precede, each
  // dominating the next. What lies far from the front says little of it.
  std::vector<std::size_t> modelled() const {
    std::vector<std::size_t> order(results_.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    if (order.size() <= kModelled) return order;
    const std::vector<int> ranks = ranks_of(results_);
    std::ranges::stable_sort(order, {}, [&](std::size_t i) { return ranks[i]; });
    order.resize(kModelled);
    std::ranges::sort(order);
    return order;
  }

  // Conditions a model on those, which it returns.
  std::vector<std::size_t> condition(SurrogateModel& model, bool thorough) const {
    std::vector<std::size_t> rows = modelled();
    std::vector<Levels> members;
    std::vector<double> losses, noises;
    const std::vector<double> cut = cut_losses();
    for (const std::size_t i : rows) {
      members.push_back(members_[i]);
      losses.push_back(cut[i]);
      noises.push_back(noises_[i]);
    }
    model.fit(members, losses, noises, thorough);
    return rows;
  }

  ExpectedImprovement stairs(const std::vector<Point>& points,
                             const std::vector<double>& costs) const {
    Point reference = points.front();
    double least = reference.cost;
    for (const Point& point : points) {
      reference.loss = std::max(reference.loss, point.loss);
      reference.cost = std::max(reference.cost, point.cost);
      least = std::min(least, point.cost);
    }
    for (const double cost : costs) reference.cost = std::max(reference.cost, cost);
    reference.cost += kMargin * (reference.cost - least);
    return ExpectedImprovement(points, reference);
  }

  Seen look(const SurrogateModel& model, const LevelsSet& taken) const {
    Seen seen;
    for (const Candidate& candidate : pool_->near_front(model.mean(), taken, kCandidates)) {
      seen.views.push_back(model.view(candidate.levels));
      seen.costs.push_back(candidate.cost);
      seen.variances.push_back(seen.views.back().variance);
    }
    seen.chosen.assign(seen.views.size(), false);
    return seen;
  }

  void choose(std::size_t size) {
    const auto results = static_cast<double>(results_.size());
    const bool thorough = results >= kThoroughly * static_cast<double>(thorough_at_);
    if (thorough) thorough_at_ = results_.size();
    // What is known: the results without their noise.
    std::vector<Point> known = results_;
    const std::vector<std::size_t> rows = condition(model_, thorough);
    for (std::size_t row = 0; row < rows.size(); ++row) {
      if (noises_[rows[row]] > 0) known[rows[row]].loss = model_.smoothed(row);
    }
    condition(simple_, thorough);
    Seen seen = look(model_, sampler_.all());
    Seen seen_simply = look(simple_, sampler_.all());
    ExpectedImprovement front = stairs(known, seen.costs);
    for (std::size_t pick = 1; queue_.size() < std::min(size, seen.views.size()); ++pick) {
      if (pick % kSecondOpinion != 0 || !choose_one(simple_, seen_simply, front)) {
        if (!choose_one(model_, seen, front)) break;
      }
    }
  }

  // Chooses the candidate of largest expected gain for the queue. False if all are chosen.
  bool choose_one(const SurrogateModel& model, Seen& seen, ExpectedImprovement& front) {
    std::optional<std::size_t> best;
    double best_gain = -1, best_gap = 0;
    for (std::size_t i = 0; i < seen.views.size(); ++i) {
      // Another model may have chosen it.
      if (seen.chosen[i] || sampler_.all().contains(seen.views[i].levels)) continue;
      const double mean = seen.views[i].mean;
      const double gain = front.expected_gain(seen.costs[i], mean, std::sqrt(seen.variances[i]));
      const double gap = mean - front.loss_at(seen.costs[i]);
      if (gain > best_gain || (gain == best_gain && gap < best_gap)) {
        best = i;
        best_gain = gain;
        best_gap = gap;
      }
    }
    if (!best) return false;
    seen.choose(model, *best);
    front.add({seen.costs[*best], seen.views[*best].mean});
    sampler_.take(seen.views[*best].levels);
    queue_.push_back(seen.views[*best].levels);
    return true;
  }

  FeasibleSet set_;
  Random random_;
  MemberSampler sampler_;
  SurrogateModel model_, simple_;  // the first and the second
  std::unique_ptr<CandidatePool> pool_;
  std::uint64_t total_ = 0;
  std::size_t designed_ = 0;     // members of the start
  std::size_t thorough_at_ = 0;  // results at the last thorough fit
  std::deque<Levels> queue_;     // chosen, not yet asked
  std::vector<Levels> members_;  // told and finite, in order
  std::vector<Point> results_;   // theirs
  std::vector<double> noises_;
  AskQueue asked_;
};

// Of the results that a model is conditioned on.
std::vector<Belief> SurrogateSearch::beliefs_of(const SurrogateModel& model,
                                                std::span<const std::size_t> rows) const {
  std::vector<Belief> beliefs;
  for (std::size_t row = 0; row < rows.size(); ++row) {
    const std::size_t i = rows[row];
    const double loss = noises_[i] > 0 ? model.smoothed(row) : results_[i].loss;
    beliefs.push_back({set_.widths(members_[i]), results_[i].cost, loss,
                       std::sqrt(model.smoothed_variance(row)), true});
  }
  return beliefs;
}

std::vector<Belief> SurrogateSearch::believed_results() const {
  if (nothing_to_model()) return {};
  SurrogateModel model = model_;  // which may not have been fitted to the last results
  const std::vector<std::size_t> rows = condition(model, false);
  return beliefs_of(model, rows);
}

std::vector<Belief> SurrogateSearch::believed_front() const {
  if (nothing_to_model()) return {};
  SurrogateModel model = model_;
  const std::vector<std::size_t> rows = condition(model, false);
  std::vector<Belief> beliefs = beliefs_of(model, rows);
  const LevelsSet taken(members_.begin(), members_.end());
  const Seen seen = look(model, taken);
  for (std::size_t i = 0; i < seen.views.size(); ++i) {
    beliefs.push_back({set_.widths(seen.views[i].levels), seen.costs[i], seen.views[i].mean,
                       std::sqrt(seen.variances[i]), false});
  }
  std::vector<Point> points;
  for (const Belief& belief : beliefs) points.push_back({belief.cost, belief.loss});
  std::vector<Belief> front;
  for (const std::size_t i : front_of(points)) front.push_back(std::move(beliefs[i]));
  return front;
}

}  // namespace

std::unique_ptr<Strategy> make_surrogate(const SearchProblem& problem,
                                         const StrategySettings& settings) {
  return std::make_unique<SurrogateSearch>(problem, settings);
}

}  // namespace mnm
