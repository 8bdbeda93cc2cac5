// A submodel in GGUF's terms, which a family states: the architecture, the metadata, and for every
// tensor of the file which tensor of the submodel it is. Plain data; export/gguf_writer.h writes
// it. Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
#pragma once

#include <cmath>
#include <cstdint>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "export/runtime_function.h"

namespace mnm {

using GgufValue =
    std::variant<std::uint32_t, std::int32_t, float, bool, std::string, std::uint64_t,
                 std::vector<std::int32_t>, std::vector<float>, std::vector<std::string>>;
using GgufFields = std::vector<std::pair<std::string, GgufValue>>;  // in the file's order

// What the file holds of every element x of a checkpoint's tensor.
enum class GgufFunction : std::uint8_t { kIdentity, kMinusExp, kPlusOne };

inline float to_gguf(GgufFunction function, float x) {
  if (function == GgufFunction::kIdentity) return x;
  if (function == GgufFunction::kPlusOne) return x + 1;
  return -static_cast<float>(std::exp(static_cast<double>(x)));
}
// The inverse, up to a rounding of what the file holds.
inline float from_gguf(GgufFunction function, float y) {
  if (function == GgufFunction::kIdentity) return y;
  if (function == GgufFunction::kPlusOne) return y - 1;
  return static_cast<float>(std::log(-static_cast<double>(y)));
}

struct GgufTensor {
  std::string name;           // "blk.0.attn_q.weight"
  std::string source;         // the submodel's tensor; empty: the tensor is `values`
  std::int64_t heads = 0;     // heads that RoPE turns; 0: rows stay in order (paired_row)
  std::vector<float> values;  // what no checkpoint holds
  // In the file, row-major; empty: the checkpoint's, or a vector of `values`.
  std::vector<std::int64_t> shape = {};
  GgufFunction function = GgufFunction::kIdentity;
  bool f32 = false;  // in f32 in any dtype, as vectors are: no product reads it
  // Matrices of the submodel that follow in the file as parts of the same tensor, whose shape is
  // given.
  std::vector<std::string> stacked = {};
  // Copies of the matrix' first row that follow its last one; the shape is given and counts them.
  std::int64_t first_row_copies = 0;
};

struct GgufModel {
  std::string architecture;  // what its metadata keys begin with, as in "ARCHITECTURE.block_count"
  GgufFields fields;         // those keys
  std::vector<GgufTensor> tensors;  // in the file's order; every tensor of the submodel once
  bool half_gelu = false;           // it has GeLU, which llama.cpp takes from a table of f16
  RuntimeFunction in_llama_cpp = {};
};

// In Hugging Face's layout RoPE turns element i of a head with element i + head_size / 2. In GGUF
// it turns neighbours. So row 2 i + j of a head in the file is the checkpoint's row j * head_size /
// 2 + i.
inline std::int64_t unpaired_row(std::int64_t row, std::int64_t head_size) {
  const std::int64_t in_head = row % head_size;
  return row - in_head + (in_head % 2) * (head_size / 2) + in_head / 2;
}
inline std::int64_t paired_row(std::int64_t row, std::int64_t head_size) {  // its inverse
  const std::int64_t in_head = row % head_size, half = head_size / 2;
  return row - in_head + in_head % half * 2 + in_head / half;
}

}  // namespace mnm
