// The formats of `export`. Each makes a PlannedExport from what a family states
// (families/exporters.h).
#pragma once

#include <cstdint>
#include <memory>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <string_view>

#include "export/target.h"
#include "families/open_model.h"

namespace mnm {

struct ExportOptions {
  std::string format = "huggingface";
  std::string dtype;  // of the weights, as the format spells it; empty: the checkpoint's
  std::uint64_t shard_bytes = 5'000'000'000;  // of tensors in one file, where a format has several
  bool no_tokenizer = false;      // of a format that holds the tokenizer in its own terms
  bool per_layer_config = false;  // of huggingface: widths in that key of config.json, no bridge
};

// As --format spells them.
std::span<const std::string_view> export_formats();

// Plans an export. `provenance` is what the artifact says about itself, under the key "mixnmatch"
// or in the format's own way. UsageError if the space refuses the widths or the format does not
// know the dtype. Error, with the reason, if the format cannot hold the submodel.
std::unique_ptr<PlannedExport> plan_export(const OpenedModel& nested, const Widths& widths,
                                           const nlohmann::json& provenance,
                                           const ExportOptions& options);

// Whether the family states the submodel in that format. False where plan_export has an Error, and
// the submodel itself is the reason: other widths, or another format, are the way out.
bool format_holds(const OpenedModel& nested, const Widths& widths, const std::string& format);

}  // namespace mnm
