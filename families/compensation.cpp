#include "families/compensation.h"

#include "families/granularities.h"

namespace mnm {

void drop_compensation(nlohmann::json& config) {
  config.erase(kCompensatedKey);
  config.erase(kGranularitiesKey);
}

}  // namespace mnm
