#include "families/end_matrix.h"

#include <ATen/ops/embedding.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/tensor.h>

#include <algorithm>
#include <map>
#include <vector>

#include "base/error.h"
#include "fold/product.h"

namespace mnm {
namespace {

std::int64_t vocab_of(const TensorTable& table, const std::string& name) {
  const auto found = std::ranges::find(table.tensors, name, &TensorSpec::name);
  if (found == table.tensors.end()) fail("the tensor table has no {}", name);
  return found->shape.front();
}

}  // namespace

EndMatrix::EndMatrix(const FoldInputs& inputs, const std::string& name)
    : rows_(inputs.rows), row_bytes_(inputs.row_bytes), name_(name) {
  if (rows_) {
    vocab_ = vocab_of(inputs.model.table, name);
  } else {
    held_ = inputs.weight(name);
  }
}

at::Tensor EndMatrix::at(const at::Tensor& tokens) const {
  if (!rows_) return in_arithmetic_type(at::embedding(held_, tokens));
  const at::Tensor words = tokens.to(at::kCPU).contiguous();
  const std::int64_t* const word = words.const_data_ptr<std::int64_t>();
  std::map<std::int64_t, std::int64_t> place;  // of each word among those that were read
  std::vector<std::int64_t> index;
  std::vector<at::Tensor> read;
  for (std::int64_t i = 0; i < words.numel(); ++i) {
    const auto [known, is_new] = place.emplace(word[i], static_cast<std::int64_t>(read.size()));
    at::Tensor room;
    if (is_new) read.push_back(rows_(name_, word[i], 1, room).squeeze(0));
    index.push_back(known->second);
  }
  return in_arithmetic_type(
      at::embedding(at::stack(read), at::tensor(index).view(tokens.sizes()).to(tokens.device())));
}

at::Tensor EndMatrix::product(const at::Tensor& rows) const {
  return rows_ ? product(rows, 0, vocab_) : mnm::product(rows, held_);
}

at::Tensor EndMatrix::product(const at::Tensor& rows, std::int64_t first,
                              std::int64_t count) const {
  if (!rows_) return mnm::product(rows, held_.narrow(0, first, count));
  const at::Tensor out = at::empty({rows.size(0), count}, rows.options());
  const std::uint64_t row_bytes = static_cast<std::uint64_t>(rows.size(1)) * rows.element_size();
  const auto most = static_cast<std::int64_t>(
      std::max<std::uint64_t>(1, row_bytes_ / std::max<std::uint64_t>(1, row_bytes)));
  at::Tensor room;  // one for all: threads' heaps keep much of what comes and goes by the megabyte
  for (std::int64_t done = 0; done < count; done += most) {
    const std::int64_t n = std::min(most, count - done);
    out.narrow(1, done, n).copy_(mnm::product(rows, rows_(name_, first + done, n, room)));
  }
  return out;
}

}  // namespace mnm
