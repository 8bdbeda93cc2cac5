// Which layers may be left out: as the user says, or else as the config states.
#pragma once

#include <cstddef>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "model/width_space.h"

namespace mnm {

// The key of config.json for the layers that may be left out: [2, 3, 4, 5, 6, 8].
inline constexpr const char* kMaySkipKey = "mixnmatch_may_skip";

// The layers of "2-6,8", ascending, each once. UsageError if the text is not of that form.
std::vector<std::size_t> parse_layers(std::string_view text);

// Lets the space skip the layers of `said`, or, if that is empty, those of the config's list.
// UsageError if the text is malformed, Error if the list is. Both also if the model has no such
// layer, if a layer always stays, or if no layer is left that stays. why_kept[layer], where there
// is such a text, says why a layer always stays.
void allow_skips(const nlohmann::json& config, std::string_view said, WidthSpace& space,
                 std::span<const std::string> why_kept = {});

// Writes into the config of a submodel at `widths` which of its own layers may be left out. Writes
// nothing if none may.
void write_may_skip(const WidthSpace& space, const Widths& widths, nlohmann::json& config);

}  // namespace mnm
