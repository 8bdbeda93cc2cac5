// Synthetic truth tables: losses of all submodels of a small nested model, with the shape that
// trained MatFormers show. Diminishing returns of width, later layers that matter more, wide layers
// before narrow ones wasted, layers that differ and interact, and a part of each loss that nothing
// predicts.
#pragma once

#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "base/random.h"
#include "search/feasible_set.h"
#include "search/problem.h"

namespace mnm::test {

struct Landscape {
  std::string name;
  double growth = 0.5;     // how much more the next layer matters (natural log)
  double unevenness = 0;   // spread of layers around that trend (natural log)
  double waste = 0.01;     // loss per level by which a layer is wider than the next
  double interaction = 0;  // spread of random effects of neighbouring layers' levels
  double noise = 0.0005;   // spread of each submodel's own part
  std::uint64_t seed = 1;
};

// The losses of uniform levels that training the reference model on a CPU gave, as a share of what
// the narrowest loses.
inline constexpr double kNarrowness[] = {0.105, 0.046, 0.013, 0.0};
inline constexpr Width kWidths[] = {64, 128, 256, 512};

inline double spread(Random& random) {  // about normal, variance 1 (Irwin-Hall)
  double sum = -6;
  for (int i = 0; i < 12; ++i) sum += random.uniform();
  return sum;
}

inline WidthSpace four_widths(std::size_t layers) {
  LayerChoices choices;
  choices.granularities.assign(std::begin(kWidths), std::end(kWidths));
  return {.layers = std::vector<LayerChoices>(layers, choices)};
}

inline double total_width(const Widths& widths) {
  double sum = 0;
  for (const Width width : widths) sum += width;
  return sum;
}

// Lexicographic, first layer most significant, narrowest first: as data/reference/truth.npy.
inline std::vector<float> synthetic_losses(const Landscape& landscape, std::size_t layers) {
  Random random(landscape.seed);
  std::vector<double> weights(layers);
  double sum = 0;
  for (std::size_t layer = 0; layer < layers; ++layer) {
    weights[layer] = std::exp(landscape.growth * static_cast<double>(layer) +
                              landscape.unevenness * spread(random));
    sum += weights[layer];
  }
  std::vector<double> pairs(layers * 16);
  for (double& pair : pairs) pair = landscape.interaction * spread(random);

  std::size_t count = 1;
  for (std::size_t layer = 0; layer < layers; ++layer) count *= 4;
  std::vector<float> losses(count);
  for (std::size_t index = 0; index < count; ++index) {
    double loss = 1.377 + landscape.noise * spread(random);
    std::size_t before = 0;
    for (std::size_t layer = 0; layer < layers; ++layer) {
      const std::size_t level = index >> (2 * (layers - 1 - layer)) & 3;
      loss += kNarrowness[level] * weights[layer] / sum;
      if (layer > 0) {
        loss += pairs[layer * 16 + before * 4 + level];
        if (before > level) loss += landscape.waste * static_cast<double>(before - level);
      }
      before = level;
    }
    losses[index] = static_cast<float>(loss);
  }
  return losses;
}

inline std::size_t index_of(const Widths& widths) {
  std::size_t index = 0;
  for (const Width width : widths) {
    std::size_t level = 0;
    while (kWidths[level] != width) ++level;
    index = index * 4 + level;
  }
  return index;
}

inline const std::vector<Landscape>& landscapes() {
  static const std::vector<Landscape> all = {
      {.name = "smooth", .growth = 0.5, .waste = 0.01, .seed = 11},
      {.name = "flat", .growth = 0, .waste = 0.003, .noise = 0.0005, .seed = 12},
      {.name = "uneven", .growth = 0.2, .unevenness = 0.6, .waste = 0.005, .seed = 13},
      {.name = "noisy", .growth = 0.4, .waste = 0.01, .noise = 0.002, .seed = 14},
      {.name = "interacting", .growth = 0.4, .waste = 0.008, .interaction = 0.003, .seed = 15},
      {.name = "wasteful",
       .growth = 0.8,
       .unevenness = 0.3,
       .waste = 0.03,
       .interaction = 0.001,
       .seed = 16},
      {.name = "decreasing",
       .growth = -0.4,
       .unevenness = 0.3,
       .waste = 0,
       .interaction = 0.001,
       .seed = 17},
      {.name = "rugged",
       .growth = 0.3,
       .unevenness = 0.5,
       .waste = 0.004,
       .interaction = 0.006,
       .noise = 0.003,
       .seed = 18},
  };
  return all;
}

}  // namespace mnm::test
