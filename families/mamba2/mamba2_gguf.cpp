#include "families/mamba2/mamba2_gguf.h"

#include "model/error.h"

namespace mnm {

GgufModel mamba2_gguf(const NestedModel&, const Widths&) {
  fail("gguf cannot hold a mamba2 model yet: choose another format");
}

}  // namespace mnm
