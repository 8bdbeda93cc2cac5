#include "model/latency.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <utility>

#include "base/error.h"

namespace mnm {
namespace {

// By linear interpolation between order statistics (type 7).
double quantile(const std::vector<double>& sorted, double q) {
  const double at = q * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<std::size_t>(at);
  const std::size_t above = std::min(below + 1, sorted.size() - 1);
  return sorted[below] + (at - static_cast<double>(below)) * (sorted[above] - sorted[below]);
}

// The closest values, in squares, that do not descend: neighbours that do are pooled.
void make_ascending(std::vector<std::pair<Width, double>>& points) {
  struct Pool {
    double sum;
    std::size_t count;
    double mean() const { return sum / static_cast<double>(count); }
  };
  std::vector<Pool> pools;
  for (const auto& [width, seconds] : points) {
    pools.push_back({seconds, 1});
    while (pools.size() > 1 && pools[pools.size() - 2].mean() > pools.back().mean()) {
      const Pool last = pools.back();
      pools.pop_back();
      pools.back().sum += last.sum;
      pools.back().count += last.count;
    }
  }
  std::size_t i = 0;
  for (const Pool& pool : pools) {
    for (std::size_t k = 0; k < pool.count; ++k) points[i++].second = pool.mean();
  }
}

}  // namespace

std::string_view to_string(Phase phase) { return kPhases[static_cast<std::size_t>(phase)]; }

Phase parse_phase(std::string_view name) {
  for (const Phase phase : {Phase::kPrefill, Phase::kDecode}) {
    if (name == to_string(phase)) return phase;
  }
  fail_usage("unknown phase '{}' (prefill, decode)", name);
}

Timing timing_of(std::vector<double> seconds) {
  std::ranges::sort(seconds);
  return {quantile(seconds, 0.5), quantile(seconds, 0.75) - quantile(seconds, 0.25)};
}

double median_error(const Timing& seconds, std::int64_t repeats) {
  if (repeats < 3) return std::numeric_limits<double>::quiet_NaN();
  constexpr double kDeviation = 1 / 1.349, kOfMedian = 1.2533;
  return kOfMedian * kDeviation * seconds.spread / std::sqrt(static_cast<double>(repeats));
}

double Latency::mean_error() const {
  double sum = 0;
  for (const LatencyCheck& check : checks) sum += check.error();
  return checks.empty() ? 0 : sum / static_cast<double>(checks.size());
}

double Latency::rms_error() const {
  double sum = 0;
  for (const LatencyCheck& check : checks) sum += check.error() * check.error();
  return checks.empty() ? 0 : std::sqrt(sum / static_cast<double>(checks.size()));
}

double Latency::worst_error() const {
  double worst = 0;
  for (const LatencyCheck& check : checks) {
    if (std::abs(check.error()) > std::abs(worst)) worst = check.error();
  }
  return worst;
}

LatencyTable::LatencyTable(const std::vector<LatencyPart>& parts) {
  bool fixed = false;
  std::map<int, std::vector<std::pair<Width, double>>> layers;
  for (const LatencyPart& part : parts) {
    if (!(part.seconds.median >= 0) || !std::isfinite(part.seconds.median)) {
      fail("the latency of layer {} at width {} is {}, expected seconds", part.layer, part.width,
           part.seconds.median);
    }
    if (part.layer == kFixedPart) {
      fixed_ = part.seconds.median;
      fixed = true;
    } else {
      layers[part.layer].emplace_back(part.width, part.seconds.median);
    }
  }
  if (!fixed) fail("the latency lacks the part that belongs to no layer");
  for (auto& [layer, points] : layers) {
    if (std::cmp_not_equal(layer, layers_.size())) {
      fail("the latency lacks layer {}", layers_.size());
    }
    std::ranges::sort(points);
    make_ascending(points);
    layers_.push_back(std::move(points));
  }
}

bool LatencyTable::covers(const Widths& widths) const {
  if (widths.size() != layers_.size()) return false;
  for (std::size_t layer = 0; layer < widths.size(); ++layer) {
    if (widths[layer] == kSkip) continue;
    const auto& points = layers_[layer];
    if (widths[layer] < points.front().first || widths[layer] > points.back().first) return false;
  }
  return true;
}

double LatencyTable::of(const Widths& widths) const {
  if (widths.size() != layers_.size()) {
    fail("the latency was measured of {} layers, and {} has {}", layers_.size(), to_string(widths),
         widths.size());
  }
  double seconds = fixed_;
  for (std::size_t layer = 0; layer < widths.size(); ++layer) {
    if (widths[layer] == kSkip) continue;
    const auto& points = layers_[layer];
    const auto above =
        std::ranges::lower_bound(points, widths[layer], {}, &std::pair<Width, double>::first);
    if (above == points.end() || (above == points.begin() && above->first != widths[layer])) {
      fail("the latency of layer {} was measured at widths from {} to {}, and not at {}", layer,
           points.front().first, points.back().first, widths[layer]);
    }
    if (above->first == widths[layer]) {
      seconds += above->second;
      continue;
    }
    const auto below = above - 1;
    const double part = static_cast<double>(widths[layer] - below->first) /
                        static_cast<double>(above->first - below->first);
    seconds += below->second + part * (above->second - below->second);
  }
  return seconds;
}

std::int64_t LatencyTable::nanoseconds(const Widths& widths) const {
  const double nanoseconds = 1e9 * of(widths);
  if (!(nanoseconds < 0x1p62)) fail("a latency of {:.3g} s does not fit 64 bits", of(widths));
  return std::max<std::int64_t>(1, std::llround(nanoseconds));
}

}  // namespace mnm
