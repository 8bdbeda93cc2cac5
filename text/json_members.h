// Reads members of JSON objects that may be missing.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

namespace mnm {

// The member. Null if it is missing or `object` is no object.
const nlohmann::json& member(const nlohmann::json& object, const char* key);
std::string text_of(const nlohmann::json& object, const char* key);  // "" if it is no string
// False if the member is missing, null, false, an empty text or 0.
bool is_set(const nlohmann::json& object, const char* key);

// The steps of one part of a tokenizer.json, such as its normalizer. `node` is one step, or a
// "Sequence" with a list of steps under `key`; the list may hold Sequences too. Null has no steps.
// Error if Sequences are nested deeper than in any public tokenizer.
std::vector<const nlohmann::json*> steps_of(const nlohmann::json& node, const char* key);

}  // namespace mnm
