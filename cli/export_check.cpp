#include "cli/export_check.h"

#include <algorithm>
#include <cmath>

#include "extract/extract.h"
#include "model/error.h"
#include "search/random.h"

namespace mnm {
namespace {

constexpr std::int64_t kProbeTokens = 32;
constexpr std::int64_t kProbeLogits = (4 << 20) / static_cast<std::int64_t>(sizeof(float));

// The longest inner product: the longest row of a tensor that products run over.
std::int64_t longest_product(const SlicePlan& plan) {
  std::int64_t longest = 1;
  for (const TensorSlice& slice : plan.tensors) {
    if (slice.spec->flops_per_element > 0 && !slice.shape.empty()) {
      longest = std::max(longest, slice.shape.back());
    }
  }
  return longest;
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
  const auto session = open_engine(device.device).load(nested.model, nested.checkpoint, device);
  probe.logits = session->logits(plan.slices().widths, probe.tokens);
  if (!std::ranges::all_of(probe.logits, [](float logit) { return std::isfinite(logit); })) {
    fail(
        "the nested model at {} computes logits that are no numbers: there is nothing to check an "
        "export against, so nothing was written (--no-check writes it anyway)",
        probe.widths);
  }
  const Rounding rounding = plan.rounding(nested.checkpoint);
  probe.tolerance = logits_tolerance(probe.logits, longest_product(plan.slices()),
                                     nested.model.layers(), rounding.relative);
  if (rounding.relative > 0) {
    // How far rounded weights move the logits hangs on the model more than on any formula (random
    // weights pass it on with interest), so it is measured too: by the nested model in that dtype.
    // What moves them is small, so they move in proportion to it.
    DeviceOptions rounded = device;
    rounded.dtype = rounding.like;
    const std::vector<float> moved = open_engine(device.device)
                                         .load(nested.model, nested.checkpoint, rounded)
                                         ->logits(plan.slices().widths, probe.tokens);
    probe.tolerance += compare_logits(probe.logits, moved, probe.vocab_size).worst *
                       (rounding.relative / roundoff(Dtype::kF32, rounding.like));
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
        "{}) is off by {:.3g}, where rounding explains {:.3g}; nothing was written",
        probe.widths, difference.position, difference.word, difference.worst, probe.tolerance);
  }
  return difference;
}

}  // namespace mnm
