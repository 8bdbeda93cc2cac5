// Compensation, as configs say it: a width that leaves out neurons gets a bias in their place
// (Compensation in model/nested_model.h, docs/nest.md).
#pragma once

#include <nlohmann/json.hpp>

namespace mnm {

// The key of config.json that says that the checkpoint holds the means: true, or absent. Biases
// that the config's own keys do not speak of are then there too.
inline constexpr const char* kCompensatedKey = "mixnmatch_compensated";

// Makes it the config of a submodel: its biases are ordinary tensors, and it has no means, so it is
// not nested itself.
void drop_compensation(nlohmann::json& config);

}  // namespace mnm
