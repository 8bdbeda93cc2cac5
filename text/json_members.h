// Members of a JSON object that may not be there.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

namespace mnm {

// Null where it is not there, or `object` is no object.
const nlohmann::json& member(const nlohmann::json& object, const char* key);
std::string text_of(const nlohmann::json& object, const char* key);  // "" where it is no string
// Not where it is not there, null, false, empty or 0.
bool is_set(const nlohmann::json& object, const char* key);

// A tokenizer.json's step, or of a Sequence those under `key`, and of the Sequences among them.
// Error where it is nested deeper than any public one.
std::vector<const nlohmann::json*> steps_of(const nlohmann::json& node, const char* key);

}  // namespace mnm
