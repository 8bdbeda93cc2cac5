// Tensors of a checkpoint whose types no weight has, such as `_extra_state` in U8. Nothing computes
// with them, and commands that read a checkpoint say so.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "model/checkpoint.h"

namespace mnm {

// "5 tensors of types that no weight has: a (U8), b (I64), c (BOOL) and 2 more"; "" if there are
// none.
std::string left_aside_text(const Checkpoint& checkpoint);

// {"tensors": 5, "types": {"a": "U8", "b": "I64", "c": "BOOL"}}, with at most three names.
nlohmann::ordered_json left_aside_json(const Checkpoint& checkpoint);

// On standard error, a line if there are any.
void note_left_aside(const Checkpoint& checkpoint);

}  // namespace mnm
