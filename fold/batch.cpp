#include "fold/batch.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>

#include "dataset/examples.h"

namespace mnm {

at::Tensor upload(const std::vector<std::int64_t>& values, const at::Device& device) {
  const auto size = static_cast<std::int64_t>(values.size());
  return at::from_blob(const_cast<std::int64_t*>(values.data()), {size}, at::kLong)
      .to(device, at::kLong, /*non_blocking=*/false, /*copy=*/true);
}

Batch batch_of(const Examples& dataset, std::int64_t begin, std::int64_t count,
               const at::Device& device) {
  std::vector<std::int64_t> shape = dataset.input().shape;
  shape.insert(shape.begin(), count);
  const at::Tensor inputs = at::empty(shape, at::kLong);  // of InputType::kTokenIds
  dataset.read_inputs(begin, count, {static_cast<std::byte*>(inputs.data_ptr()), inputs.nbytes()});
  std::vector<std::int64_t> target(static_cast<std::size_t>(count * dataset.context));
  dataset.read_targets(begin, count, target);
  Batch batch{inputs.to(device), upload(target, device).view({count, dataset.context}), {}};
  if (!dataset.scored.empty()) {
    const std::int64_t each = dataset.targets();
    const auto first = dataset.scored.begin() + begin * each;
    batch.scored =
        upload(std::vector<std::int64_t>(first, first + count * each), device).view({count, each});
  }
  return batch;
}

}  // namespace mnm
