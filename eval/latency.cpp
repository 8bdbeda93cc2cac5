#include "eval/latency.h"

#include <algorithm>
#include <map>
#include <numeric>
#include <utility>

#include "base/error.h"

namespace mnm {
namespace {

using Draw = std::function<std::uint64_t(std::uint64_t)>;

// Random submodels that differ, at most `count`: a small space has few.
std::vector<LatencyCheck> draw_checks(const std::vector<std::vector<Width>>& choices,
                                      std::int64_t count, const Draw& draw) {
  std::vector<LatencyCheck> checks;
  for (std::int64_t i = 0; i < count; ++i) {
    Widths widths;
    for (const std::vector<Width>& layer : choices) widths.push_back(layer[draw(layer.size())]);
    if (std::ranges::find(checks, widths, &LatencyCheck::widths) == checks.end()) {
      checks.push_back({widths, 0, {}});
    }
  }
  return checks;
}

template <typename Item>
void shuffle(std::vector<Item>& items, const Draw& draw) {
  for (std::size_t i = items.size(); i > 1; --i) std::swap(items[i - 1], items[draw(i)]);
}

// Each layer's choices in random order.
std::vector<std::vector<Width>> shuffled(std::vector<std::vector<Width>> choices,
                                         const Draw& draw) {
  for (std::vector<Width>& layer : choices) shuffle(layer, draw);
  return choices;
}

void require_repeats(const LatencySettings& settings) {
  if (settings.repeats < 1) fail_usage("a median needs at least one repeat");
}

// Seconds of every pass, by part.
class PartTimes {
 public:
  explicit PartTimes(PassTimer& timer) : timer_(timer) {}

  void take(const Widths& widths) {
    const std::vector<double> parts = timer_.parts(widths);
    for (std::size_t layer = 0; layer < widths.size(); ++layer) {
      if (widths[layer] == kSkip) continue;
      seconds_[{static_cast<int>(layer), widths[layer]}].push_back(parts.at(layer));
    }
    seconds_[{kFixedPart, 0}].push_back(parts.at(widths.size()));
  }

  std::vector<LatencyPart> medians() const {
    std::vector<LatencyPart> parts;
    for (const auto& [part, times] : seconds_) {
      parts.push_back({part.first, part.second, timing_of(times)});
    }
    return parts;
  }

 private:
  PassTimer& timer_;
  std::map<std::pair<int, Width>, std::vector<double>> seconds_;
};

}  // namespace

Latency measure_latency(const WidthSpace& space, const LatencySettings& settings, PassTimer& timer,
                        const std::function<std::uint64_t(std::uint64_t)>& draw,
                        const ProgressSink& progress) {
  require_repeats(settings);
  std::vector<std::vector<Width>> choices;
  std::size_t most = 1;
  for (std::size_t layer = 0; layer < space.layers.size(); ++layer) {
    choices.push_back(space.choices(layer));
    most = std::max(most, choices.back().size());
  }
  Latency latency;
  latency.repeats = settings.repeats;
  latency.checks = draw_checks(choices, settings.checks, draw);
  std::vector<std::vector<double>> whole(latency.checks.size());

  const auto total = static_cast<double>(
      settings.warm_up + settings.repeats * static_cast<std::int64_t>(most + whole.size()));
  double done = 0;
  const auto next = [&] {
    if (progress && !progress({done++, total})) throw Stopped();
  };
  for (std::int64_t i = 0; i < settings.warm_up; ++i) {
    next();
    timer.parts(space.full());
  }
  PartTimes times(timer);
  for (std::int64_t repeat = 0; repeat < settings.repeats; ++repeat) {
    const std::vector<std::vector<Width>> order = shuffled(choices, draw);
    // Passes by parts and checks by turns.
    for (std::size_t pass = 0; pass < std::max(most, whole.size()); ++pass) {
      if (pass < most) {
        Widths widths;
        for (const auto& layer : order) widths.push_back(layer[pass % layer.size()]);
        next();
        times.take(widths);
      }
      if (pass < whole.size()) {
        next();
        whole[pass].push_back(timer.whole(latency.checks[pass].widths));
      }
    }
  }
  latency.parts = times.medians();
  const LatencyTable table(latency.parts);
  for (std::size_t i = 0; i < whole.size(); ++i) {
    latency.checks[i].seconds = timing_of(whole[i]);
    latency.checks[i].predicted = table.of(latency.checks[i].widths);
  }
  return latency;
}

std::vector<Timing> time_wholes(std::span<const Widths> submodels, const LatencySettings& settings,
                                PassTimer& timer,
                                const std::function<std::uint64_t(std::uint64_t)>& draw,
                                const ProgressSink& progress) {
  require_repeats(settings);
  if (submodels.empty()) return {};
  const auto count = static_cast<std::int64_t>(submodels.size());
  const std::int64_t warm_up = settings.warm_up > 0 ? std::max(settings.warm_up, count) : 0;
  const auto total = static_cast<double>(warm_up + settings.repeats * count);
  double done = 0;
  const auto timed = [&](std::size_t i) {
    if (progress && !progress({done++, total})) throw Stopped();
    return timer.whole(submodels[i]);
  };
  for (std::int64_t i = 0; i < warm_up; ++i) {
    timed(static_cast<std::size_t>(i) % submodels.size());
  }
  std::vector<std::size_t> order(submodels.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::vector<std::vector<double>> seconds(submodels.size());
  for (std::int64_t repeat = 0; repeat < settings.repeats; ++repeat) {
    shuffle(order, draw);
    for (const std::size_t i : order) seconds[i].push_back(timed(i));
  }
  std::vector<Timing> timings;
  for (std::vector<double>& times : seconds) timings.push_back(timing_of(std::move(times)));
  return timings;
}

}  // namespace mnm
