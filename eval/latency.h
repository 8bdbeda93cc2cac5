// Measures how long submodels take, layer by layer, with a clock that is passed in.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "base/progress.h"
#include "model/latency.h"
#include "model/width_space.h"

namespace mnm {

// Times passes over one workload.
class PassTimer {
 public:
  virtual ~PassTimer() = default;
  // Seconds of one pass as a whole.
  virtual double whole(const Widths& widths) = 0;
  // Seconds of one pass by parts: [layers], and the part that belongs to no layer. The entry of a
  // skipped layer is not used.
  virtual std::vector<double> parts(const Widths& widths) = 0;
};

struct LatencySettings {
  std::int64_t warm_up = 3;   // passes of the whole model before anything counts
  std::int64_t repeats = 21;  // measurements behind each median
  std::int64_t checks = 8;    // random submodels measured whole
  std::uint64_t seed = 1;     // of these, and of the order
};

// Measures each layer at each of its widths. A skipped layer takes no time and is not measured.
//
// A repeat makes as many passes as the layer with the most widths has widths. In each pass every
// layer has another width than in the passes before, in random order; layers with fewer widths use
// them again. So a repeat times each width beside random widths of the other layers, and a drift of
// the machine's speed affects all widths alike. The checks are timed as a whole in the same
// repeats.
//
// `draw(n)` is uniform in [0, n). `progress` counts passes, and is called before each. The caller
// fills in `device`, `dtype` and `workload` of the result.
Latency measure_latency(const WidthSpace& space, const LatencySettings& settings, PassTimer& timer,
                        const std::function<std::uint64_t(std::uint64_t)>& draw,
                        const ProgressSink& progress);

// Times submodels as wholes. First come `settings.warm_up` passes that do not count: at least one
// of each submodel, unless warm_up is 0. Then in each of `settings.repeats` repeats every submodel
// is timed once, in random order, so a drift of the machine's speed affects all alike. Timing i
// belongs to submodels[i]. The rest is as above.
std::vector<Timing> time_wholes(std::span<const Widths> submodels, const LatencySettings& settings,
                                PassTimer& timer,
                                const std::function<std::uint64_t(std::uint64_t)>& draw,
                                const ProgressSink& progress);

}  // namespace mnm
