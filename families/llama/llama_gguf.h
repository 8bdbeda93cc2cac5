// The submodel in GGUF's terms. It is llama.cpp's architecture "llama" if all widths are equal,
// else "deci", whose layers have sizes of their own.
#pragma once

#include "export/gguf_model.h"
#include "model/nested_model.h"

namespace mnm {

// Error, with the reason, for what llama.cpp does not compute: the gate variant act(gate*up), an
// activation other than silu.
GgufModel llama_gguf(const NestedModel& submodel);

}  // namespace mnm
