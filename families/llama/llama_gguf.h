// The submodel in GGUF's terms: the architecture that llama.cpp has for it where all widths are
// equal, else "deci", which is Llama's arithmetic with layers of sizes of their own.
#pragma once

#include <string>

#include "export/gguf_model.h"
#include "families/llama/llama_config.h"
#include "model/nested_model.h"

namespace mnm {

// Why llama.cpp computes something else at any widths: the gate variant act(gate*up), another
// activation, biases that it does not read. Empty: it does not.
std::string llama_gguf_refusal(const LlamaConfig& config);
bool llama_gguf_mixes(const LlamaConfig& config);  // whether layers may differ in width

// Error, with the reason, where llama.cpp computes something else.
GgufModel llama_gguf(const NestedModel& submodel);

}  // namespace mnm
