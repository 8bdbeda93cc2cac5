// A Gemma 3n in GGUF's terms, of llama.cpp's architecture gemma3n. It reads one width for all
// layers, and has numbers of the released models in its code: 20 layers with keys and values of
// their own, clipped gates in the first 10, four streams, 256 inputs per layer. It takes the spread
// of gates as of a sample (divided by one less than their number), so its logits differ.
#pragma once

#include <string>

#include "export/gguf_model.h"
#include "model/nested_model.h"

namespace mnm {

// Why llama.cpp cannot compute this submodel; empty: it can.
std::string gemma3n_gguf_refusal(const NestedModel& submodel);

// Error with that reason.
GgufModel gemma3n_gguf(const NestedModel& submodel);

}  // namespace mnm
