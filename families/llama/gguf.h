// Describes a submodel as a GGUF file. If all its widths are equal, the file has llama.cpp's
// architecture for the model. Else it has "deci", which computes as Llama does, with a size for
// each layer.
#pragma once

#include <string>

#include "export/gguf_model.h"
#include "families/llama/config.h"
#include "model/nested_model.h"

namespace mnm {

// Why llama.cpp cannot compute such a model at any widths: the gate variant act(gate*up), another
// activation, or biases that it does not read. Empty if it can.
std::string llama_gguf_refusal(const LlamaConfig& config);
bool llama_gguf_mixes(const LlamaConfig& config);  // whether layers may differ in width

// Error, with the reason, if llama.cpp would not compute the same.
GgufModel llama_gguf(const NestedModel& submodel);

}  // namespace mnm
