// A submodel in timm's terms, which a family states: the config.json of a directory of the hub, and
// what the tensors of its file are made of. Plain data; artifact/formats.cpp plans the export.
#pragma once

#include <nlohmann/json.hpp>
#include <vector>

#include "export/runtime_function.h"
#include "export/stacked_tensor.h"

namespace mnm {

struct TimmModel {
  // architecture, model_args, which are all arguments that make the model, num_classes... Without
  // pretrained_cfg: how pictures are prepared is no fact of the model.
  nlohmann::json config;
  std::vector<StackedTensor> tensors;  // every tensor of the submodel once
  RuntimeFunction in_timm = {};
};

}  // namespace mnm
