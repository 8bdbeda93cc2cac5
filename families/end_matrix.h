// The embedding or the head, [vocab, d]. It is held, or read in parts whenever it is used.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>

#include "fold/fold.h"

namespace mnm {

class EndMatrix {
 public:
  EndMatrix() = default;
  // It is held, unless inputs.rows is there. The model's table has the name.
  EndMatrix(const FoldInputs& inputs, const std::string& name);

  // The rows of the matrix for tokens, int64 [..]: [.., d].
  at::Tensor at(const at::Tensor& tokens) const;

  // rows [n, d] times the transpose of the matrix, or of its rows [first, first + count): [n,
  // vocab] or [n, count].
  at::Tensor product(const at::Tensor& rows) const;
  at::Tensor product(const at::Tensor& rows, std::int64_t first, std::int64_t count) const;

 private:
  at::Tensor held_;
  RowSource rows_;
  std::uint64_t row_bytes_ = 0;  // that are read at once
  std::string name_;
  std::int64_t vocab_ = 0;
};

}  // namespace mnm
