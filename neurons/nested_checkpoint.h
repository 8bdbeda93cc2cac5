// A checkpoint whose neurons are in another order, planned: the same files, in which only the
// tensors that the width cuts have their rows or columns elsewhere, and a config.json that names
// the granularities.
#pragma once

#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "artifact/checked_export.h"
#include "export/target.h"
#include "families/open_model.h"
#include "neurons/neuron_order.h"

namespace mnm {

// The means of what each layer's down matrix is multiplied with, [layers][channels], as the
// checkpoint has them; empty: the nested checkpoint is not compensated, or was before.
using InputMeans = std::vector<std::vector<float>>;

// config.json of the nested checkpoint: the checkpoint's own, with the granularities of `nesting`
// and with `note` under the key "mixnmatch". If `compensate`, it says that the checkpoint is
// compensated. `opened` is opened without a nesting. UsageError if the granularities are wrong.
// Error if the family does not read them back from such a config, has no place for the biases that
// compensate, or if the checkpoint is compensated already.
nlohmann::json nested_config(const OpenedModel& opened, const Nesting& nesting,
                             const nlohmann::json& note, bool compensate = false);

// Error if the checkpoint's config says that it is nested already.
void require_not_nested(const OpenedModel& opened);

// Plans the files: every shard as it is, byte for byte, but for the order of neurons; config.json;
// the files that an export carries along; and, with means, kCompensationFile, which holds them and
// zeros for the biases that the checkpoint does not have. orders: [layers]. `opened` outlives the
// plan. Error if an order is no bijection, or a layer's neurons cannot be exchanged.
std::unique_ptr<PlannedExport> plan_nested(const OpenedModel& opened,
                                           const std::vector<NeuronOrder>& orders,
                                           const nlohmann::json& config,
                                           const InputMeans& means = {});

// Writes the plan and checks it. Every written tensor of the ordinary model, with the order
// undone, must equal the checkpoint's; the means of neurons are not compared. The written model
// must compute the checkpoint's logits within the tolerance that an export is held to, and its
// probe stays with it. Options and errors are those of write_checked (artifact/checked_export.h);
// nothing is there until all checks have passed.
CheckedExport write_nested(const OpenedModel& opened, const PlannedExport& plan,
                           const std::filesystem::path& target, const CheckOptions& options,
                           const AtomicDirectory::Replaceable& replaceable = {},
                           const ProgressSink& progress = {});

}  // namespace mnm
