// Which layers may be left out: what the user says, or else what the config states.
#pragma once

#include <cstddef>
#include <nlohmann/json.hpp>
#include <string_view>
#include <vector>

#include "model/width_space.h"

namespace mnm {

// Where a config.json lists the layers that may be left out: [2, 3, 4, 5, 6, 8].
inline constexpr const char* kMaySkipKey = "mixnmatch_may_skip";

// The layers of "2-6,8", ascending, each once. UsageError where it is not of that form.
std::vector<std::size_t> parse_layers(std::string_view text);

// Lets the space skip the layers of `said`, or, where that is empty, those of the config's list.
// UsageError where the text is malformed, Error where the list is; both where a layer is not the
// model's or none is left that stays.
void allow_skips(const nlohmann::json& config, std::string_view said, WidthSpace& space);

// The config of a submodel at `widths` states which of its own layers may be left out. Nothing
// where none may.
void write_may_skip(const WidthSpace& space, const Widths& widths, nlohmann::json& config);

}  // namespace mnm
