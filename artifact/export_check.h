// The check that an export computes what its nested model computes at those widths: its logits.
// That its tensors are the checkpoint's is export/check.h.
#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "engine/engine.h"
#include "export/probe.h"
#include "export/target.h"
#include "families/open_model.h"

namespace mnm {

// Pseudo-random inputs, the same for every export of models with the same inputs and vocabulary.
// They are one sequence of at most 32 tokens, fewer where their logits would pass 4 MiB; or at most
// 8 images, fewer where their pixels or logits would.
ExampleInputs probe_inputs(const NestedModel& model);

// How many of the first layers the check runs. Each is held alone.
//
// - `asked`, if it is not 0.
// - Else all layers. But if the plan rounds, or norms are narrow, the layers are run several times.
//   Then it is only as many layers as have two billion weights. At least one of them is not
//   skipped.
// - 0 if the memory that the system can hand out now does not hold the largest layer and a part of
//   the head. (The memory of a GPU is not looked at.)
std::size_t layers_to_run(const OpenedModel& nested, const PlannedExport& plan, std::int64_t asked,
                          const DeviceOptions& device);

// The probe of the first `layers` layers of the nested model, with its embedding and readout, at
// the plan's widths. It holds the f32 logits of the weights as the plan stores them and of the
// function that its runtimes compute, the two tolerances for runtimes, and how far both moved the
// logits. `artifact` is left empty.
// Error if a logit is not a number.
Probe make_probe(const OpenedModel& nested, const PlannedExport& plan, std::size_t layers,
                 const DeviceOptions& device);

// Opens the written directory, with the plan's reader, as the submodel that it holds.
OpenedModel reopen_export(const PlannedExport& plan, const std::filesystem::path& directory);

// The largest difference of a logit between two models, each at widths of its own, in f32.
double logits_difference(const OpenedModel& a, const Widths& at_a, const OpenedModel& b,
                         const Widths& at_b, const ExampleInputs& inputs,
                         const DeviceOptions& device);

// Runs the first `layers` layers of the written model with our own engine, and compares the logits
// with the probe. Error if a logit is off by more than the tolerance: it names the position, the
// word and both tolerances.
Difference check_written_logits(const Probe& probe, const PlannedExport& plan,
                                const OpenedModel& written, std::size_t layers,
                                const DeviceOptions& device);

}  // namespace mnm
