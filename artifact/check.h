// The proof that an export computes what its nested model computes at those widths.
#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "engine/engine.h"
#include "export/probe.h"
#include "export/target.h"
#include "families/open_model.h"

namespace mnm {

// One sequence of pseudo-random tokens, the same for every export of the same vocabulary and
// context: at most 32, fewer where their logits would pass 4 MiB.
std::vector<std::int64_t> probe_tokens(std::int64_t vocab_size, std::int64_t max_context);

// How many first layers of the model are run in the check, one after the other, each held alone:
// `asked`, or, where that is 0, all; of a plan that rounds and of narrow norms, which are run
// several times, only as many as have two billion weights. At least one is a layer that is not
// skipped. 0 where the memory that the system could hand out now does not hold the largest and a
// part of the head (on a GPU nobody asks).
std::size_t layers_to_run(const OpenedModel& nested, const PlannedExport& plan, std::int64_t asked,
                          const DeviceOptions& device);

// The probe of the nested model's first `layers` layers (and its embedding and readout) at the
// plan's widths, all but `artifact`: logits in f32 of its weights as the plan stores them, the
// bounds that a runtime is held to, and how far storing moved the logits. Error where a logit is
// not a number.
Probe make_probe(const OpenedModel& nested, const PlannedExport& plan, std::size_t layers,
                 const DeviceOptions& device);

// The written directory as the submodel that it holds, by the plan's reader.
OpenedModel reopen_export(const PlannedExport& plan, const std::filesystem::path& directory);

// Every tensor that was written is its slice of the nested checkpoint, rounded as the plan says,
// bit for bit as numbers; piece by piece, in memory that does not grow with them. Error names the
// first that is not.
void check_written_tensors(const OpenedModel& nested, const PlannedExport& plan,
                           const Checkpoint& written);

// What is written of the nested model's first `layers` layers, run by our own engine, against the
// probe. Error where a logit is off by more than the tolerance: names position, word and both
// bounds.
Difference check_written_logits(const Probe& probe, const PlannedExport& plan,
                                const OpenedModel& written, std::size_t layers,
                                const DeviceOptions& device);

}  // namespace mnm
