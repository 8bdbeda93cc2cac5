#include "eval/latency.h"

#include <algorithm>
#include <map>
#include <utility>

#include "eval/scores.h"
#include "model/error.h"

namespace mnm {

Latency measure_latency(const WidthSpace& space, const LatencySettings& settings, PassTimer& timer,
                        const std::function<std::uint64_t(std::uint64_t)>& draw,
                        const std::function<bool(std::int64_t, std::int64_t)>& proceed) {
  if (settings.repeats < 1) fail_usage("a median needs at least one repeat");
  const std::size_t layers = space.layers.size();
  std::vector<std::vector<Width>> choices;
  std::size_t most = 1;
  for (std::size_t layer = 0; layer < layers; ++layer) {
    choices.push_back(space.choices(layer));
    most = std::max(most, choices.back().size());
  }
  const auto below = [&](std::size_t n) { return static_cast<std::size_t>(draw(n)); };
  Latency latency;
  latency.repeats = settings.repeats;
  std::vector<std::vector<double>> whole;  // [checks]
  for (std::int64_t i = 0; i < settings.checks; ++i) {
    Widths widths;
    for (const auto& layer : choices) widths.push_back(layer[below(layer.size())]);
    if (std::ranges::find(latency.checks, widths, &LatencyCheck::widths) != latency.checks.end()) {
      continue;  // drawn twice: a small space has few
    }
    latency.checks.push_back({widths, 0, {}});
  }
  whole.resize(latency.checks.size());

  const std::int64_t total =
      settings.warm_up + settings.repeats * static_cast<std::int64_t>(most + latency.checks.size());
  std::int64_t done = 0;
  const auto next = [&] {
    if (!proceed(done++, total)) throw Interrupted();
  };
  for (std::int64_t i = 0; i < settings.warm_up; ++i) {
    next();
    timer.parts(space.full());
  }
  std::map<std::pair<int, Width>, std::vector<double>> seconds;
  for (std::int64_t repeat = 0; repeat < settings.repeats; ++repeat) {
    std::vector<std::vector<Width>> order = choices;
    for (std::vector<Width>& layer : order) {
      for (std::size_t i = layer.size(); i > 1; --i) std::swap(layer[i - 1], layer[below(i)]);
    }
    // Passes by parts and checks by turns.
    for (std::size_t pass = 0; pass < std::max(most, latency.checks.size()); ++pass) {
      if (pass < most) {
        Widths widths;
        for (const auto& layer : order) widths.push_back(layer[pass % layer.size()]);
        next();
        const std::vector<double> parts = timer.parts(widths);
        for (std::size_t layer = 0; layer < layers; ++layer) {
          seconds[{static_cast<int>(layer), widths[layer]}].push_back(parts.at(layer));
        }
        seconds[{kFixedPart, 0}].push_back(parts.at(layers));
      }
      if (pass < latency.checks.size()) {
        next();
        whole[pass].push_back(timer.whole(latency.checks[pass].widths));
      }
    }
  }
  for (const auto& [part, times] : seconds) {
    latency.parts.push_back({part.first, part.second, timing_of(times)});
  }
  const LatencyTable table(latency.parts);
  for (std::size_t i = 0; i < latency.checks.size(); ++i) {
    latency.checks[i].seconds = timing_of(whole[i]);
    latency.checks[i].predicted = table.of(latency.checks[i].widths);
  }
  return latency;
}

}  // namespace mnm
