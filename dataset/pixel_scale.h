// What is done to the pixels of an image once it has the model's size. A checkpoint says it
// (image/preprocessor_config.h).
#pragma once

#include <vector>

namespace mnm {

// A model gets (pixel * scale - mean) / deviation, computed in f32 as transformers does.
struct PixelScale {
  double scale = 1.0 / 255;
  std::vector<double> mean, deviation;  // [channels]
  friend bool operator==(const PixelScale&, const PixelScale&) = default;
};

}  // namespace mnm
