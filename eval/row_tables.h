// Tables that a pass which streams weights never holds.
#pragma once

#include "model/tensor_table.h"

namespace mnm {

// A table that is only looked up, and of which every layer reads columns of its own (Gemma 3n's
// per-layer inputs). It is as large as all layers, and a batch needs the rows of its words alone.
// So these rows are read, whole, once for each batch.
inline bool is_read_by_rows(const TensorSpec& spec) {
  return spec.role == Role::kEmbedding && spec.flops_per_element == 0 && spec.layer < 0 &&
         spec.cut_dim >= 0;
}

}  // namespace mnm
