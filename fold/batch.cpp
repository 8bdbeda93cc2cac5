#include "fold/batch.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>

#include <algorithm>
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

namespace {

// The runs of examples [begin, begin + count).
void add_runs(const Examples& dataset, std::int64_t begin, std::int64_t count,
              const at::Device& device, Batch& batch) {
  const ScoredRuns& runs = dataset.runs;
  std::vector<std::int64_t> scored, targets, run_of;
  for (std::int64_t i = 0; i < count; ++i) {
    for (std::int64_t run = dataset.first_value(begin + i);
         run < dataset.first_value(begin + i + 1); ++run) {
      const auto at = static_cast<std::size_t>(run);
      for (std::int64_t output = runs.outputs[at]; output < runs.outputs[at + 1]; ++output) {
        scored.push_back(i * dataset.outputs() + runs.position[static_cast<std::size_t>(output)]);
        targets.push_back(runs.target[static_cast<std::size_t>(output)]);
        run_of.push_back(batch.runs);
      }
      ++batch.runs;
    }
  }
  batch.targets = upload(targets, device);
  batch.scored = upload(scored, device);
  batch.run_of = upload(run_of, device);
}

// The branches of examples [begin, begin + count).
void add_branches(const Examples& dataset, std::int64_t begin, std::int64_t count,
                  const at::Device& device, Batch& batch) {
  const ExampleBranches& branches = dataset.branches;
  const std::int64_t first = branches.of_example[static_cast<std::size_t>(begin)];
  const std::int64_t last = branches.of_example[static_cast<std::size_t>(begin + count)];
  std::int64_t longest = 0;
  for (auto b = static_cast<std::size_t>(first); b < static_cast<std::size_t>(last); ++b) {
    longest = std::max(longest, branches.shared[b] + branches.end[b] - branches.begin[b]);
  }
  std::vector<std::int64_t> sequences(static_cast<std::size_t>((last - first) * longest), 0);
  // What lies behind the end of an example is in no branch. Nobody reads it.
  std::vector<std::int64_t> places(static_cast<std::size_t>(count * dataset.context), 0);
  for (std::int64_t i = 0; i < count; ++i) {
    const std::int64_t end_of = branches.of_example[static_cast<std::size_t>(begin + i + 1)];
    for (std::int64_t branch = branches.of_example[static_cast<std::size_t>(begin + i)];
         branch < end_of; ++branch) {
      const auto b = static_cast<std::size_t>(branch);
      std::int64_t place = (branch - first) * longest;
      const auto take = [&](std::int64_t token) {
        const std::int64_t row = i * dataset.context + token;
        sequences[static_cast<std::size_t>(place)] = row;
        places[static_cast<std::size_t>(row)] = place++;
      };
      for (std::int64_t token = 0; token < branches.shared[b]; ++token) take(token);
      for (std::int64_t token = branches.begin[b]; token < branches.end[b]; ++token) take(token);
    }
  }
  batch.sequences = upload(sequences, device).view({last - first, longest});
  batch.places = upload(places, device);
}

}  // namespace

Batch batch_of(const Examples& dataset, std::int64_t begin, std::int64_t count,
               const at::Device& device) {
  const at::Tensor inputs = empty_inputs(dataset.input(), count);
  dataset.read_inputs(begin, count, {static_cast<std::byte*>(inputs.data_ptr()), inputs.nbytes()});
  if (!dataset.runs.outputs.empty()) {
    Batch batch{inputs.to(device)};
    add_runs(dataset, begin, count, device, batch);
    if (!dataset.branches.of_example.empty()) add_branches(dataset, begin, count, device, batch);
    return batch;
  }
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
