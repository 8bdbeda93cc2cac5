#include "families/submodel_config.h"

#include <utility>

#include "families/granularities.h"
#include "families/may_skip.h"

namespace mnm {

nlohmann::json submodel_config(nlohmann::json source, Dtype dtype) {
  nlohmann::json config = std::move(source);
  for (const char* key : {"_name_or_path", "auto_map", kGranularitiesKey, kMaySkipKey, kWidthsKey,
                          "mixnmatch", "transformers_version"}) {
    config.erase(key);
  }
  config["dtype"] = config["torch_dtype"] = torch_name(dtype);
  return config;
}

}  // namespace mnm
