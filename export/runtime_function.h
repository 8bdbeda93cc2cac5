// What the runtimes of an export format compute where that is not quite the model's own function.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

namespace mnm {

struct RuntimeFunction {
  // Merged into config.json, it makes the model's family compute the same; null: nothing is other.
  nlohmann::json config = {};
  std::string says = {};  // what is other, as the subject of "moved a logit by"
};

}  // namespace mnm
