#include "artifact/export_check.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "artifact/altered_weights.h"
#include "base/error.h"
#include "base/quantity.h"
#include "base/random.h"
#include "eval/memory.h"
#include "model/cost.h"
#include "model/random_inputs.h"
#include "model/shapes.h"

namespace mnm {
namespace {

constexpr std::int64_t kProbeTokens = 32, kProbeImages = 8;
constexpr std::int64_t kProbeFloats = (4 << 20) / static_cast<std::int64_t>(sizeof(float));

// The longest sum of products: of a row of a tensor, and, in a layer that carries a state along the
// sequence, of that row, the state's elements and what every token before added to it, one after
// the other.
std::int64_t longest_product(const NestedModel& model, const SlicePlan& plan, std::int64_t tokens) {
  std::int64_t longest = 1;
  for (const TensorSlice& slice : plan.tensors) {
    if (slice.spec->flops_per_element > 0 && !slice.shape.empty()) {
      longest = std::max(longest, element_count(slice.shape) / slice.shape.front());
    }
  }
  std::int64_t carried = 0;
  for (const LayerMixing& mixing : model.mixing) {
    if (mixing.state_per_width == 0) continue;
    carried = std::max(carried, mixing.state_per_width + tokens);
  }
  return longest + carried;
}

// Channels of the narrowest norm.
std::int64_t narrowest_norm(const SlicePlan& plan) {
  std::int64_t narrowest = std::numeric_limits<std::int64_t>::max();
  for (const TensorSlice& slice : plan.tensors) {
    if (slice.spec->norm_groups == 0) continue;
    narrowest = std::min(narrowest, slice.shape.back() / slice.spec->norm_groups);
  }
  return narrowest;
}

// Weights of layers that are run altered, where nobody said how many layers: each is run several
// times, and made anew each time.
constexpr double kAlteredWeights = 0x1p31;
// Of the memory that could be had, for weights: what is computed from them takes some as well.
constexpr double kUsable = 0.9;

bool is_cpu(const DeviceOptions& device) { return device.device.starts_with("cpu"); }

// Elements of each layer.
std::vector<double> weights_of_layers(const TensorTable& table, std::size_t layers) {
  std::vector<double> weights(layers, 0);
  for (const TensorSpec& spec : table.tensors) {
    if (spec.layer < 0) continue;
    weights.at(static_cast<std::size_t>(spec.layer)) +=
        static_cast<double>(element_count(spec.shape));
  }
  return weights;
}

// The first layers up to the first one that is kept: fewer are no model.
std::size_t fewest_layers(const Widths& widths) {
  const auto kept = std::ranges::find_if(widths, [](Width width) { return width != kSkip; });
  return static_cast<std::size_t>(kept - widths.begin()) + 1;
}

// The model that ends after so many layers; of its checkpoint the engine loads what its table
// names.
NestedModel first_layers(const Family& family, const NestedModel& whole, std::size_t layers) {
  if (layers >= whole.layers()) return whole;
  NestedModel first =
      family.describe(family.with_layers(whole.config, static_cast<std::int64_t>(layers)), {});
  first.space.layers.assign(whole.space.layers.begin(),
                            whole.space.layers.begin() + static_cast<std::ptrdiff_t>(layers));
  return first;
}

// The same with those keys in its config.
NestedModel with_config(const Family& family, const NestedModel& model,
                        const nlohmann::json& keys) {
  if (keys.is_null()) return model;
  nlohmann::json config = model.config;
  config.merge_patch(keys);
  NestedModel other = family.describe(config, {});
  other.space = model.space;
  return other;
}

Widths first_widths(const Widths& widths, std::size_t layers) {
  return {widths.begin(),
          widths.begin() + static_cast<std::ptrdiff_t>(std::min(layers, widths.size()))};
}

// What may be used of the CPU's memory: all that is free, which nothing else wants meanwhile.
double memory_of(const DeviceOptions& device) {
  if (device.memory > 0) return static_cast<double>(device.memory);
  const auto available = available_memory();
  return available ? static_cast<double>(*available) : std::numeric_limits<double>::infinity();
}

std::vector<float> logits_of(const NestedModel& model, const Checkpoint& checkpoint,
                             const Widths& widths, const ExampleInputs& inputs,
                             DeviceOptions device) {
  device.single_pass = true;
  const double memory = memory_of(device);
  if (is_cpu(device) && std::isfinite(memory)) device.memory = static_cast<std::uint64_t>(memory);
  return open_engine(device.device).load(model, checkpoint, device)->logits(widths, inputs);
}

// Whether the model is run several times whatever its conditioning: with weights as the plan stores
// them, or off by some noise.
bool runs_several_times(const PlannedExport& plan, const Checkpoint& checkpoint) {
  return plan.rounds(checkpoint) || plan.operand_roundoff() > 0 ||
         plan.arithmetic() != Dtype::kF32 || narrowest_norm(plan.slices()) < kWideNorm;
}

class ProbeMaker {
 public:
  ProbeMaker(const OpenedModel& nested, const PlannedExport& plan, std::size_t layers,
             const DeviceOptions& device)
      : checkpoint_(nested.checkpoint),
        plan_(plan),
        device_(device),
        own_(first_layers(*nested.family, nested.model, layers)),
        model_(with_config(*nested.family, own_, plan.in_runtimes().config)),
        widths_(first_widths(plan.slices().widths, layers)) {
    probe_.widths = to_string(plan.slices().widths);
    probe_.fingerprint = checkpoint_.fingerprint();
    probe_.vocab_size = nested.model.vocab_size;
    probe_.inputs = probe_inputs(nested.model);
  }

  Probe make() {
    const bool rounds = plan_.rounds(checkpoint_);
    probe_.logits = rounds ? altered_logits({}) : logits(model_);
    if (!std::ranges::all_of(probe_.logits, [](float logit) { return std::isfinite(logit); })) {
      fail(
          "the nested model at {} computes logits that are no numbers: there is nothing to check "
          "an export against, so nothing was written (--no-check writes it anyway)",
          probe_.widths);
    }
    const bool other = !plan_.in_runtimes().config.is_null();
    if (rounds || other) probe_.moved = distance(logits(own_));
    set_tolerance();
    set_operand_tolerance();
    return std::move(probe_);
  }

 private:
  // With the checkpoint's own weights.
  std::vector<float> logits(const NestedModel& model) const {
    return logits_of(model, checkpoint_, widths_, probe_.inputs, device_);
  }
  std::vector<float> altered_logits(const Noise& noise, Dtype arithmetic = Dtype::kF32) const {
    AlteredWeights altered(model_, checkpoint_, plan_, noise);
    DeviceOptions device = device_;
    device.dtype = arithmetic;
    if (is_cpu(device) && device.memory > 0) {
      const auto memory = static_cast<double>(device.memory);
      const double made = AlteredWeights::bytes(plan_.slices());
      if (made >= memory) {
        fail(
            "cannot stream the weights within {} bytes of memory: the largest tensor as the format "
            "stores it takes {} beside them; allow more memory",
            quantity(memory), quantity(made));
      }
      device.memory = static_cast<std::uint64_t>(memory - made);
    }
    return logits_of(model_, altered.checkpoint(), widths_, probe_.inputs, device);
  }
  double distance(std::span<const float> logits) const {
    return compare_logits(probe_.logits, logits, probe_.vocab_size).worst;
  }

  double largest() const {
    double largest = 0;
    for (const float logit : probe_.logits) {
      largest = std::max(largest, std::fabs(static_cast<double>(logit)));
    }
    return largest;
  }

  // Of what such noise, or such arithmetic, does to the logits.
  double bound(double relative, Dtype arithmetic = Dtype::kF32) const {
    double squares = 0;
    for (int draw = 0; draw < draws_.count; ++draw) {
      squares += std::pow(distance(altered_logits({relative, draw}, arithmetic)), 2);
    }
    return draws_.margin * std::sqrt(squares / draws_.count);
  }

  void set_tolerance() {
    const std::int64_t longest =
        longest_product(model_, plan_.slices(), probe_.inputs.each.elements());
    const double noise = summation_roundoff(longest);
    probe_.tolerance = logits_tolerance(probe_.logits, longest, model_.layers());
    if (draws_.count == 1) {
      draws_ = draws_after(distance(altered_logits({noise, 0})), probe_.tolerance);
    }
    if (draws_.count > 1) probe_.tolerance = std::max(probe_.tolerance, bound(noise));
    probe_.tolerance = std::min(probe_.tolerance, largest());
  }

  void set_operand_tolerance() {
    probe_.operand_tolerance = probe_.tolerance;
    if (const double roundoff = plan_.operand_roundoff(); roundoff > 0) {
      probe_.operand_tolerance += bound(roundoff);
    }
    if (const Dtype arithmetic = plan_.arithmetic(); arithmetic != Dtype::kF32) {
      // Another order of the same roundings is of equal spread; draws differ by their weights.
      const double between = draws_.count > 1 ? roundoff(Dtype::kF32, arithmetic) : 0;
      probe_.operand_tolerance += bound(between, arithmetic);
    }
    probe_.operand_tolerance = std::min(probe_.operand_tolerance, largest());
  }

  const Checkpoint& checkpoint_;
  const PlannedExport& plan_;
  const DeviceOptions& device_;
  const NestedModel own_;    // which the export is of
  const NestedModel model_;  // which its runtimes compute
  const Widths widths_;
  Draws draws_ = draws_for(narrowest_norm(plan_.slices()));
  Probe probe_;
};

}  // namespace

std::size_t layers_to_run(const OpenedModel& nested, const PlannedExport& plan, std::int64_t asked,
                          const DeviceOptions& device) {
  const std::size_t all = nested.model.layers();
  const std::vector<double> weights = weights_of_layers(nested.model.table, all);
  const std::size_t fewest = fewest_layers(plan.slices().widths);
  if (asked > 0) return std::min(all, std::max(fewest, static_cast<std::size_t>(asked)));
  const std::uint64_t streamed =
      streamed_bytes(weight_bytes(nested.model, Dtype::kF32), {.single_pass = true});
  const double held = static_cast<double>(streamed) + AlteredWeights::bytes(plan.slices());
  if (is_cpu(device) && held > kUsable * memory_of(device)) return 0;
  if (!runs_several_times(plan, nested.checkpoint)) return all;
  std::size_t layers = 0;
  for (double sum = 0;
       layers < all && (layers < fewest || sum + weights[layers] <= kAlteredWeights);) {
    sum += weights[layers++];
  }
  return layers;
}

ExampleInputs probe_inputs(const NestedModel& model) {
  Random random(1);
  const std::int64_t outputs = kProbeFloats / std::max<std::int64_t>(1, model.vocab_size);
  if (model.reads_tokens()) {
    const std::int64_t tokens = std::min({kProbeTokens, model.max_context, outputs});
    return random_inputs(model, 1, std::max<std::int64_t>(1, tokens), random);
  }
  const std::int64_t images =
      std::min({kProbeImages, outputs, kProbeFloats / model.input.elements()});
  return random_inputs(model, std::max<std::int64_t>(1, images), model.max_context, random);
}

Probe make_probe(const OpenedModel& nested, const PlannedExport& plan, std::size_t layers,
                 const DeviceOptions& device) {
  return ProbeMaker(nested, plan, layers, device).make();
}

OpenedModel reopen_export(const PlannedExport& plan, const std::filesystem::path& directory) {
  return open_model(plan.reopen(directory));
}

double logits_difference(const OpenedModel& a, const Widths& at_a, const OpenedModel& b,
                         const Widths& at_b, const ExampleInputs& inputs,
                         const DeviceOptions& device) {
  DeviceOptions in_f32 = device;
  in_f32.dtype = Dtype::kF32;
  return compare_logits(logits_of(a.model, a.checkpoint, at_a, inputs, in_f32),
                        logits_of(b.model, b.checkpoint, at_b, inputs, in_f32), a.model.vocab_size)
      .worst;
}

Difference check_written_logits(const Probe& probe, const PlannedExport& plan,
                                const OpenedModel& written, std::size_t layers,
                                const DeviceOptions& device) {
  // Of the written model's layers, those that the nested one ran.
  const std::size_t kept = kept_widths(first_widths(plan.slices().widths, layers)).size();
  const NestedModel model = first_layers(*written.family, written.model, kept);
  const std::vector<float> logits =
      logits_of(model, written.checkpoint, model.space.full(), probe.inputs, device);
  const Difference difference = compare_logits(probe.logits, logits, probe.vocab_size);
  if (!(difference.worst <= probe.tolerance)) {
    const ExampleWords& words = words_of(model.input.type);
    fail(
        "the export does not compute what the nested model computes at {}: a logit ({} {}, {} {}) "
        "is "
        "off by {:.3g}, where the order of summation explains {:.3g}; nothing was written",
        probe.widths, words.output, difference.position, words.choice, difference.word,
        difference.worst, probe.tolerance);
  }
  return difference;
}

}  // namespace mnm
