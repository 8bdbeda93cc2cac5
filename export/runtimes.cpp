#include "export/runtimes.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>
#include <utility>

namespace mnm {
namespace {

// The nearest width at most (up: at least) `from` that passes, and that the layer may take.
std::optional<Width> next_width(const LayerChoices& layer, Width from, Width multiple, bool up,
                                bool trained) {
  std::optional<Width> found;
  const auto offer = [&](std::int64_t width) {
    if (width < 1 || width > layer.full() || (up ? width < from : width > from)) return;
    const auto candidate = static_cast<Width>(width);
    if (candidate % multiple != 0 || !layer.allows(candidate)) return;
    if (!found || (up ? candidate < *found : candidate > *found)) found = candidate;
  };
  for (const Width width : layer.granularities) offer(width);
  if (!trained && layer.step > 0) {
    const std::int64_t step = std::lcm<std::int64_t>(layer.step, multiple);
    offer(from / step * step);
    offer((from + step - 1) / step * step);
  }
  return found;
}

std::optional<Widths> mixed_detour(const WidthSpace& space, const Widths& widths, Width multiple,
                                   bool up, bool trained) {
  Widths moved = widths;
  for (std::size_t layer = 0; layer < widths.size(); ++layer) {
    if (widths[layer] == kSkip) continue;
    const auto width = next_width(space.layers[layer], widths[layer], multiple, up, trained);
    if (!width) return std::nullopt;
    moved[layer] = *width;
  }
  return moved;
}

// One width for all layers that are not skipped.
std::optional<Widths> uniform_detour(const WidthSpace& space, const Widths& widths, Width multiple,
                                     bool up, bool trained) {
  const auto layers = static_cast<std::int64_t>(kept_widths(widths).size());
  if (layers == 0) return std::nullopt;
  const std::int64_t sum = std::accumulate(widths.begin(), widths.end(), std::int64_t{0});
  auto from = static_cast<Width>(up ? (sum + layers - 1) / layers : sum / layers);
  // Layers may differ in what they take: go on until one width suits all.
  for (std::size_t agreed = 0; agreed < widths.size();) {
    if (widths[agreed] == kSkip) {
      ++agreed;
      continue;
    }
    const auto width =
        next_width(space.layers[agreed], std::max<Width>(from, 1), multiple, up, trained);
    if (!width) return std::nullopt;
    agreed = *width == from ? agreed + 1 : 0;
    from = *width;
  }
  Widths moved = widths;
  for (Width& width : moved) width = width == kSkip ? kSkip : from;
  return moved;
}

}  // namespace

std::string_view to_string(Evidence evidence) {
  return evidence == Evidence::kRun ? "run" : "read";
}

RuntimeRule runtime_rule(std::string runtime, std::string version, std::string format,
                         Evidence evidence) {
  RuntimeRule rule;
  rule.runtime = std::move(runtime);
  rule.version = std::move(version);
  rule.evidence = evidence;
  rule.format = std::move(format);
  rule.dtypes = {"f32", "f16", "bf16"};
  return rule;
}

bool is_trained(const WidthSpace& space, const Widths& widths) {
  for (std::size_t layer = 0; layer < widths.size(); ++layer) {
    const auto& known = space.layers[layer].granularities;
    if (widths[layer] != kSkip && std::ranges::find(known, widths[layer]) == known.end()) {
      return false;
    }
  }
  return true;
}

std::optional<std::string> refusal_of(const RuntimeRule& rule, const Widths& widths) {
  if (!rule.refusal.empty()) return rule.refusal;
  const bool uniform = is_uniform(kept_widths(widths));
  if ((uniform ? rule.uniform_as : rule.mixed_as).empty()) {
    return fmt::format("layers of {} width{}: {}", uniform ? "one" : "different",
                       uniform ? "" : "s", rule.why_not);
  }
  for (std::size_t layer = 0; layer < widths.size(); ++layer) {
    if (widths[layer] % rule.multiple == 0) continue;
    return fmt::format("layer {} has the width {}, no multiple of {}: {}", layer, widths[layer],
                       rule.multiple, rule.why_not);
  }
  return std::nullopt;
}

std::vector<Detour> detours(const WidthSpace& space, const Widths& widths,
                            const RuntimeRule& rule) {
  std::vector<Detour> found;
  if (!rule.refusal.empty()) return found;
  const auto detour = rule.mixed_as.empty() ? uniform_detour : mixed_detour;
  for (const bool up : {false, true}) {
    for (const bool trained : {true, false}) {
      const auto moved = detour(space, widths, rule.multiple, up, trained);
      if (!moved || *moved == widths || refusal_of(rule, *moved)) continue;
      if (std::ranges::find(found, *moved, &Detour::widths) != found.end()) continue;
      found.push_back({*moved, up, is_trained(space, *moved)});
    }
  }
  const auto units = [](const Detour& one) {
    return std::accumulate(one.widths.begin(), one.widths.end(), std::int64_t{0});
  };
  std::ranges::stable_sort(found, {}, units);
  return found;
}

}  // namespace mnm
