// JSON that a store holds, which may come from a stranger.
#pragma once

#include <nlohmann/json.hpp>
#include <string_view>

namespace mnm {

// Null where it is no JSON, repeats a key, or nests deeper than parse_json (model/files.h) reads:
// to copy or print such a value takes as deep a stack.
nlohmann::json stored_json(std::string_view text);

}  // namespace mnm
