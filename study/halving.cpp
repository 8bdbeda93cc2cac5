#include "study/halving.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <limits>
#include <numeric>
#include <utility>

#include "base/error.h"
#include "eval/standard_error.h"
#include "search/expected_improvement.h"

namespace mnm {
namespace {

constexpr std::int64_t kParts[] = {8, 4};  // 1 / the share of the first rounds
constexpr std::int64_t kFewest = 16;       // examples
constexpr double kBeaten = 2;              // standard errors

// Fills the metrics of a score from its values per example.
void estimate(Score& score) {
  for (const MetricRow& row : metric_table()) {
    const std::vector<float>& values = score.per_example[row.metric];
    if (values.empty()) continue;
    const Estimate of = row.estimate(values);
    score.metrics[row.metric] = Measured{of.value, of.standard_error};
    score.samples = static_cast<std::int64_t>(values.size());
  }
}

// How far apart two submodels are: layers that differ.
std::size_t differing(const Widths& a, const Widths& b) {
  std::size_t count = 0;
  for (std::size_t layer = 0; layer < a.size(); ++layer) count += a[layer] != b[layer] ? 1 : 0;
  return count;
}

}  // namespace

std::vector<std::vector<std::int64_t>> halving_rounds(std::int64_t examples) {
  if (examples < kFewest) {
    fail_usage("halving scores on an eighth of the examples first: it takes {} or more, not {}",
               kFewest, examples);
  }
  std::vector<std::vector<std::int64_t>> rounds;
  for (const std::int64_t part : kParts) {
    rounds.emplace_back();
    // The larger step's places are among the smaller's.
    for (std::int64_t i = 0; i < examples; i += part) rounds.back().push_back(i);
  }
  rounds.emplace_back(static_cast<std::size_t>(examples));
  std::iota(rounds.back().begin(), rounds.back().end(), std::int64_t{0});
  return rounds;
}

Score joined(const Score& a, std::span<const std::int64_t> at_a, const Score& b,
             std::span<const std::int64_t> at) {
  Score out = b;
  for (const MetricRow& row : metric_table()) {
    const std::vector<float>& of_a = a.per_example[row.metric];
    const std::vector<float>& of_b = b.per_example[row.metric];
    std::vector<float>& values = out.per_example[row.metric];
    values.clear();
    out.metrics[row.metric].reset();
    if (of_a.size() != at_a.size() || of_b.size() != at.size() - at_a.size()) continue;
    std::size_t next_a = 0, next_b = 0;
    for (const std::int64_t place : at) {
      const bool from_a = next_a < at_a.size() && at_a[next_a] == place;
      values.push_back(from_a ? of_a[next_a++] : of_b[next_b++]);
    }
  }
  estimate(out);
  return out;
}

Score part_of(const Score& whole, std::span<const std::int64_t> at) {
  Score out = whole;
  for (const MetricRow& row : metric_table()) {
    const std::vector<float>& all = whole.per_example[row.metric];
    std::vector<float>& values = out.per_example[row.metric];
    values.clear();
    out.metrics[row.metric].reset();
    const auto held = [&](std::int64_t place) { return std::cmp_less(place, all.size()); };
    if (!std::ranges::all_of(at, held)) continue;
    for (const std::int64_t place : at) values.push_back(all[static_cast<std::size_t>(place)]);
  }
  estimate(out);
  return out;
}

void HalvingJudge::add(const Score& whole) {
  const Point point = {cost_(whole.widths), objective_of(metric_, whole.value(metric_))};
  if (!std::isfinite(point.loss)) return;
  wholes_.push_back({whole.widths, point, whole.per_example[metric_]});
  examples_ = wholes_.back().values.size();
}

HalvingJudge::Standing HalvingJudge::of(const Score& part, std::span<const std::int64_t> at,
                                        std::span<const Score> peers) const {
  const MetricRow& row = row_of(metric_);
  Standing standing{{cost_(part.widths), objective_of(metric_, part.value(metric_))}, 0};
  if (!std::isfinite(standing.point.loss)) return standing;
  const std::vector<float>& values = part.per_example[metric_];
  const auto error_of = [&](const Estimate& difference) {
    // The part is among the examples that the estimate is for.
    const double left =
        examples_ == 0 ? 1 : 1 - static_cast<double>(at.size()) / static_cast<double>(examples_);
    return difference.standard_error * std::sqrt(std::max(0.0, left));
  };
  if (wholes_.empty()) {
    double nearest = std::numeric_limits<double>::infinity();
    for (const Score& peer : peers) {
      if (peer.widths == part.widths || !peer.ok(metric_)) continue;
      const auto apart = static_cast<double>(differing(peer.widths, part.widths));
      if (apart >= nearest) continue;
      nearest = apart;
      standing.error = error_of(row.difference(values, peer.per_example[metric_]));
    }
    return standing;
  }
  const Whole* anchor = nullptr;
  const auto farther = [&](const Whole& one, const Whole& other) {
    const std::size_t a = differing(one.widths, part.widths);
    const std::size_t b = differing(other.widths, part.widths);
    if (a != b) return a > b;
    return std::abs(one.point.cost - standing.point.cost) >
           std::abs(other.point.cost - standing.point.cost);
  };
  for (const Whole& whole : wholes_) {
    if (anchor == nullptr || farther(*anchor, whole)) anchor = &whole;
  }
  std::vector<float> theirs;
  for (const std::int64_t place : at) {
    theirs.push_back(anchor->values[static_cast<std::size_t>(place)]);
  }
  const Estimate difference = row.difference(values, theirs);
  standing.point.loss =
      anchor->point.loss + (row.larger_wins ? -difference.value : difference.value);
  standing.error = error_of(difference);
  return standing;
}

std::vector<std::size_t> HalvingJudge::promising(std::span<const Standing> candidates,
                                                 std::size_t count) const {
  std::vector<Point> points, all;
  for (const Whole& whole : wholes_) points.push_back(whole.point);
  all = points;
  std::vector<std::size_t> left;
  for (std::size_t i = 0; i < candidates.size(); ++i) {
    if (!std::isfinite(candidates[i].point.loss)) continue;
    left.push_back(i);
    all.push_back(candidates[i].point);
  }
  if (left.empty()) return {};
  ExpectedImprovement front(points, box_corner(all));
  std::vector<std::size_t> chosen;
  while (chosen.size() < count && !left.empty()) {
    const auto gain = [&](std::size_t i) {
      const auto& [point, error] = candidates[i];
      return front.expected_gain(point.cost, point.loss, error);
    };
    const auto best = std::ranges::max_element(left, {}, gain);
    const auto& [point, error] = candidates[*best];
    const bool beaten = point.loss - kBeaten * error >= front.loss_at(point.cost);
    if (beaten && !(chosen.empty() && wholes_.empty())) {
      left.erase(best);
      continue;
    }
    front.add(point);
    chosen.push_back(*best);
    left.erase(best);
  }
  return chosen;
}

std::vector<std::size_t> HalvingJudge::expected_on_front(
    std::span<const Standing> candidates) const {
  std::vector<Point> points;
  for (const Standing& candidate : candidates) points.push_back(candidate.point);
  for (const Whole& whole : wholes_) points.push_back(whole.point);
  std::vector<std::size_t> on = front_of(points);
  std::erase_if(on, [&](std::size_t i) { return i >= candidates.size(); });
  std::ranges::sort(on);
  return on;
}

}  // namespace mnm
