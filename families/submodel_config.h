// What the config.json of a submodel says whatever its family is, in Hugging Face's spelling.
#pragma once

#include <nlohmann/json.hpp>

#include "model/dtype.h"

namespace mnm {

// The source's config to begin with: without what described the source alone (its path, its code,
// its version of transformers, our notes, its widths and which of them it may take), and with the
// dtype in both spellings that transformers has had. A family goes on by spelling out what is
// computed, since defaults differ between readers and versions.
nlohmann::json submodel_config(nlohmann::json source, Dtype dtype);

}  // namespace mnm
