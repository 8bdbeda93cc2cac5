#include "cli/export_check.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <utility>

#include "extract/extract.h"
#include "model/error.h"
#include "search/random.h"

namespace mnm {
namespace {

constexpr std::int64_t kProbeTokens = 32;
constexpr std::int64_t kProbeLogits = (4 << 20) / static_cast<std::int64_t>(sizeof(float));

// The longest sum of products: of a row of a tensor, and, in a layer that carries a state along the
// sequence, of that row, the state's elements and what every token before added to it, one after
// the other.
std::int64_t longest_product(const NestedModel& model, const SlicePlan& plan, std::size_t tokens) {
  std::int64_t longest = 1;
  for (const TensorSlice& slice : plan.tensors) {
    if (slice.spec->flops_per_element > 0 && !slice.shape.empty()) {
      longest = std::max(longest, slice.shape.back());
    }
  }
  std::int64_t carried = 0;
  for (const LayerMixing& mixing : model.mixing) {
    if (mixing.state_per_width == 0) continue;
    carried = std::max(carried, mixing.state_per_width + static_cast<std::int64_t>(tokens));
  }
  return longest + carried;
}

// `values`, all that a slice keeps in its order, at their places in the whole tensor.
void put_slice(const TensorSlice& slice, std::span<const float> values, std::span<float> whole) {
  if (slice.dim < 0) {
    std::ranges::copy(values, whole.begin());
    return;
  }
  const auto& shape = slice.spec->shape;
  const auto cut = static_cast<std::size_t>(slice.dim);
  std::size_t inner = 1;  // elements of one step along the dimension that is cut
  for (std::size_t d = cut + 1; d < shape.size(); ++d) inner *= static_cast<std::size_t>(shape[d]);
  const std::size_t row = static_cast<std::size_t>(shape[cut]) * inner;
  for (std::size_t at = 0; at < whole.size(); at += row) {
    for (const Range& range : slice.ranges) {
      const auto count = static_cast<std::size_t>(range.end - range.begin) * inner;
      std::ranges::copy(values.first(count),
                        whole.begin() + static_cast<std::ptrdiff_t>(
                                            at + static_cast<std::size_t>(range.begin) * inner));
      values = values.subspan(count);
    }
  }
}

// The nested checkpoint with what the plan keeps of it as the plan stores it, and all its matrices
// then off by up to `noise`, relatively. In f32, in memory: the engine's copy takes as much again.
Checkpoint as_stored(const OpenedModel& nested, const PlannedExport& plan, double noise) {
  auto storage = std::make_shared<std::vector<std::vector<float>>>();
  storage->reserve(nested.model.table.tensors.size());
  std::vector<StoredTensor> tensors;
  for (const TensorSpec& spec : nested.model.table.tensors) {
    const StoredTensor& source = nested.checkpoint.at(spec.name);
    std::vector<float>& whole = storage->emplace_back(static_cast<std::size_t>(source.elements()));
    to_f32(source.data, source.dtype, whole);
    const auto slice = std::ranges::find(plan.slices().tensors, &spec, &TensorSlice::spec);
    if (slice != plan.slices().tensors.end()) {
      std::vector<float> kept = extract_f32(nested.checkpoint, *slice);
      plan.round(*slice, kept);
      if (noise > 0 && spec.shape.size() > 1) perturb(kept, noise, storage->size());
      put_slice(*slice, kept, whole);
    }
    StoredTensor& tensor = tensors.emplace_back(source);
    tensor.dtype = Dtype::kF32;
    tensor.data = std::as_bytes(std::span(whole));
  }
  return Checkpoint::assemble(nested.checkpoint.directory(), nested.checkpoint.config(),
                              std::move(tensors), std::move(storage));
}

}  // namespace

std::vector<std::int64_t> probe_tokens(std::int64_t vocab_size, std::int64_t max_context) {
  const std::int64_t count = std::max<std::int64_t>(
      1,
      std::min({kProbeTokens, max_context, kProbeLogits / std::max<std::int64_t>(1, vocab_size)}));
  Random random(1);
  std::vector<std::int64_t> tokens;
  for (std::int64_t i = 0; i < count; ++i) {
    tokens.push_back(
        static_cast<std::int64_t>(random.below(static_cast<std::uint64_t>(vocab_size))));
  }
  return tokens;
}

Probe make_probe(const OpenedModel& nested, const PlannedExport& plan,
                 const DeviceOptions& device) {
  Probe probe;
  probe.widths = to_string(plan.slices().widths);
  probe.fingerprint = nested.checkpoint.fingerprint();
  probe.vocab_size = nested.model.vocab_size;
  probe.tokens = probe_tokens(nested.model.vocab_size, nested.model.max_context);
  const auto logits_of = [&](const Checkpoint& checkpoint, Dtype arithmetic = Dtype::kF32) {
    DeviceOptions options = device;
    options.dtype = arithmetic;
    return open_engine(device.device)
        .load(nested.model, checkpoint, options)
        ->logits(plan.slices().widths, probe.tokens);
  };
  const auto distance = [&](std::span<const float> logits) {
    return compare_logits(probe.logits, logits, probe.vocab_size).worst;
  };
  const bool rounds = plan.rounds(nested.checkpoint);
  probe.logits = rounds ? logits_of(as_stored(nested, plan, 0)) : logits_of(nested.checkpoint);
  if (!std::ranges::all_of(probe.logits, [](float logit) { return std::isfinite(logit); })) {
    fail(
        "the nested model at {} computes logits that are no numbers: there is nothing to check an "
        "export against, so nothing was written (--no-check writes it anyway)",
        probe.widths);
  }
  if (rounds) probe.moved = distance(logits_of(nested.checkpoint));
  probe.tolerance = logits_tolerance(
      probe.logits, longest_product(nested.model, plan.slices(), probe.tokens.size()),
      nested.model.layers());
  probe.operand_tolerance = probe.tolerance;
  if (const double roundoff = plan.operand_roundoff(); roundoff > 0) {
    probe.operand_tolerance +=
        kOperandMargin * distance(logits_of(as_stored(nested, plan, roundoff)));
  }
  if (plan.arithmetic() != Dtype::kF32) {
    // Another order of the same roundings: of equal spread, as above.
    probe.operand_tolerance +=
        kOperandMargin * distance(logits_of(as_stored(nested, plan, 0), plan.arithmetic()));
  }
  return probe;
}

OpenedModel reopen_export(const PlannedExport& plan, const std::filesystem::path& directory) {
  return open_model(plan.reopen(directory));
}

void check_written_tensors(const OpenedModel& nested, const PlannedExport& plan,
                           const Checkpoint& written) {
  for (const TensorSlice& slice : plan.slices().tensors) {
    std::vector<float> expected = extract_f32(nested.checkpoint, slice);
    plan.round(slice, expected);
    const StoredTensor& tensor = written.at(slice.spec->name);
    std::vector<float> found(static_cast<std::size_t>(tensor.elements()));
    to_f32(tensor.data, tensor.dtype, found);
    const bool same =
        tensor.shape == slice.shape && std::ranges::equal(expected, found, [](float a, float b) {
          return a == b || (std::isnan(a) && std::isnan(b));
        });
    if (!same) fail("the written tensor {} is not its slice of the checkpoint", slice.spec->name);
  }
}

Difference check_written_logits(const Probe& probe, const OpenedModel& written,
                                const DeviceOptions& device) {
  const auto session = open_engine(device.device).load(written.model, written.checkpoint, device);
  const std::vector<float> logits = session->logits(written.model.space.full(), probe.tokens);
  const Difference difference = compare_logits(probe.logits, logits, probe.vocab_size);
  if (!(difference.worst <= probe.tolerance)) {
    fail(
        "the export does not compute what the nested model computes at {}: a logit (token {}, word "
        "{}) is off by {:.3g}, where the order of summation explains {:.3g}; nothing was written",
        probe.widths, difference.position, difference.word, difference.worst, probe.tolerance);
  }
  return difference;
}

}  // namespace mnm
