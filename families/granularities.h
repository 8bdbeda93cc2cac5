// Which widths were trained: as the config states, or else as the user says.
#pragma once

#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "model/width_space.h"

namespace mnm {

// The key of config.json for the widths that were trained.
inline constexpr const char* kGranularitiesKey = "matformer_granularities";
// The key for the full width of every layer. It is used if layers differ, or no key of Hugging Face
// says it.
inline constexpr const char* kWidthsKey = "matformer_widths";

// For each layer of `full` (the full widths): ascending granularities that end with the full width.
// `stated` is the value of the config's `key`: one list for all layers or one per layer; nullptr if
// it has none. `said` is what the user says (Nesting). Error if `stated` is malformed, is not
// ascending, or does not end with the full width. UsageError if the user's text is so, or if both
// are given and differ.
std::vector<std::vector<Width>> resolve_granularities(const nlohmann::json* stated,
                                                      std::string_view key, std::string_view said,
                                                      std::span<const Width> full);

// Writes into the config of a submodel at `widths` what it is nested to: for each kept layer the
// granularities below its width, and that width. Writes nothing if every layer has only one.
void write_granularities(const WidthSpace& space, const Widths& widths, nlohmann::json& config);

// Family::with_layers, for our own keys. Of what they state per layer, only the first `layers`
// entries are kept, and none of these layers may be skipped. UsageError if they state fewer.
void keep_first_layers(nlohmann::json& config, std::int64_t layers);

}  // namespace mnm
