// What the user says about how a model nests, where its config.json does not say it.
#pragma once

#include <string>

namespace mnm {

struct Nesting {
  // Widths that were trained: "64,128,256,512" for every layer, or fractions of the layer's full
  // width, "1/8,1/4,1/2,1". Empty: what the config says, else the full width alone.
  std::string granularities = {};
  // Layers that may be left out: "2-6,8". Empty: what the config says, else none.
  std::string may_skip = {};
};

}  // namespace mnm
