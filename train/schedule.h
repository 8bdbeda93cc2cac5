// What a step of training does, as pure functions of the settings. There is no state, so a resumed
// run takes the same steps.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "train/settings.h"

namespace mnm {

// The learning rate of a step in [0, steps): a linear warm-up from 0 to the peak, then a cosine
// down to min_rate times the peak.
double learning_rate(const TrainSettings& settings, std::int64_t step);

// A granularity whose loss is a part of a step's loss, and its weight.
struct Share {
  std::size_t level = 0;
  double weight = 1;
  friend bool operator==(const Share&, const Share&) = default;
};

// The parts of a step's loss, by the schedule: ascending levels, without those of weight 0.
std::vector<Share> shares_of_step(const TrainSettings& settings, std::size_t levels,
                                  std::int64_t step);

// Where the sequences of a micro-batch start in a file of `tokens` tokens. Each start is in [0,
// tokens - context - 1]. Every pass over the data visits each whole sequence once, in an order and
// from an offset of its own.
std::vector<std::uint64_t> draw_starts(const TrainSettings& settings, std::uint64_t tokens,
                                       std::int64_t step, std::int64_t micro_batch);

// An image of a micro-batch, and what is done to it.
struct DrawnImage {
  std::int64_t index = 0;
  bool mirrored = false;
  std::int64_t down = 0, right = 0;  // pixels, of [-shift, shift]
  // The rectangle that is erased, as shares of the height and width; empty: none.
  double top = 0, left = 0, height = 0, width = 0;
  friend bool operator==(const DrawnImage&, const DrawnImage&) = default;
};
// Every pass over `images` images visits each of them once, in an order of its own.
std::vector<DrawnImage> draw_images(const TrainSettings& settings, std::int64_t images,
                                    std::int64_t step, std::int64_t micro_batch);

// The share of the images of a micro-batch that is their own; the rest is their partners'. Above 0;
// 1 without mixup.
double own_share(const TrainSettings& settings, std::int64_t step, std::int64_t micro_batch);

// Checks every number. UsageError names the option that gives it.
void check_settings(const TrainSettings& settings, std::size_t levels);
// UsageError if a file of so many tokens has not one sequence.
void require_a_sequence(const TrainSettings& settings, std::uint64_t tokens);

}  // namespace mnm
