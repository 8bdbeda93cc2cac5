#include "fold/batch.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>

#include <cstring>

#include "dataset/examples.h"
#include "model/example_inputs.h"

namespace mnm {

at::Tensor upload(const std::vector<std::int64_t>& values, const at::Device& device) {
  const auto size = static_cast<std::int64_t>(values.size());
  return at::from_blob(const_cast<std::int64_t*>(values.data()), {size}, at::kLong)
      .to(device, at::kLong, /*non_blocking=*/false, /*copy=*/true);
}

at::Tensor empty_inputs(const InputSpec& each, std::int64_t count) {
  std::vector<std::int64_t> shape = each.shape;
  shape.insert(shape.begin(), count);
  return at::empty(shape, each.type == InputType::kTokenIds ? at::kLong : at::kFloat);
}

at::Tensor upload(const ExampleInputs& inputs, const at::Device& device) {
  const at::Tensor tensor = empty_inputs(inputs.each, inputs.count);
  std::memcpy(tensor.data_ptr(), inputs.bytes().data(), tensor.nbytes());
  return tensor.to(device);
}

Batch batch_of(const Examples& dataset, std::int64_t begin, std::int64_t count,
               const at::Device& device) {
  const at::Tensor inputs = empty_inputs(dataset.input(), count);
  dataset.read_inputs(begin, count, {static_cast<std::byte*>(inputs.data_ptr()), inputs.nbytes()});
  std::vector<std::int64_t> target(static_cast<std::size_t>(count * dataset.outputs()));
  dataset.read_targets(begin, count, target);
  Batch batch{inputs.to(device), upload(target, device).view({count, dataset.outputs()}), {}};
  if (!dataset.scored.empty()) {
    const std::int64_t each = dataset.targets();
    const auto first = dataset.scored.begin() + begin * each;
    batch.scored =
        upload(std::vector<std::int64_t>(first, first + count * each), device).view({count, each});
  }
  return batch;
}

}  // namespace mnm
