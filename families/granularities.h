// Which widths were trained: what the config states, or else what the user says.
#pragma once

#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "model/width_space.h"

namespace mnm {

// Where a config.json states the widths that were trained.
inline constexpr const char* kGranularitiesKey = "matformer_granularities";
// Where it states every layer's full width, because they differ or no key of Hugging Face's says
// it.
inline constexpr const char* kWidthsKey = "matformer_widths";

// Per layer of `full` (its full width): ascending granularities that end with the full width.
// `stated` is the config's `key`, one list for all layers or one per layer; nullptr where it has
// none. `said`: what the user says (Nesting). Error where it is malformed, not ascending, or does
// not end with the full width; UsageError where the user's text is, or where both are there and
// differ.
std::vector<std::vector<Width>> resolve_granularities(const nlohmann::json* stated,
                                                      std::string_view key, std::string_view said,
                                                      std::span<const Width> full);

// The config of a submodel at `widths` states what it is nested to in turn: each kept layer's
// granularities below its width, and that width. Nothing where all have but one.
void write_granularities(const WidthSpace& space, const Widths& widths, nlohmann::json& config);

// Family::with_layers, for our own keys: of what they state per layer, that of the first `layers`
// is left, and none of those may be skipped. UsageError where they state fewer.
void keep_first_layers(nlohmann::json& config, std::int64_t layers);

}  // namespace mnm
