// What the user says about how a model nests and what it reads, where its config.json says nothing
// or something else.
#pragma once

#include <cstdint>
#include <string>

namespace mnm {

struct Nesting {
  // Widths that were trained: "64,128,256,512" for every layer, or fractions of the layer's full
  // width, "1/8,1/4,1/2,1". Empty: what the config says, else the full width alone.
  std::string granularities = {};
  // Layers that may be left out: "2-6,8". Empty: what the config says, else none.
  std::string may_skip = {};
  // The side in pixels of images, where positions shall be resized to images of another size than
  // the config's. 0: what the config says.
  std::int64_t image_size = 0;
};

}  // namespace mnm
