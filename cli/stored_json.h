// JSON from a store, which may come from a stranger.
#pragma once

#include <nlohmann/json.hpp>
#include <string_view>

namespace mnm {

// Null if the text is no JSON, repeats a key, or nests deeper than parse_json (base/file.h)
// reads. To copy or print a deeper value would take as deep a stack.
nlohmann::json stored_json(std::string_view text);

}  // namespace mnm
