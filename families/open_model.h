// From a directory to a checked nested model.
#pragma once

#include <filesystem>

#include "families/family.h"
#include "model/checkpoint.h"

namespace mnm {

struct OpenedModel {
  const Family* family = nullptr;
  Checkpoint checkpoint;
  NestedModel model;  // its table agrees with the checkpoint's tensors
};

OpenedModel open_model(const std::filesystem::path& directory,
                       const Granularities& granularities = {});
// Of a checkpoint that is open already.
OpenedModel open_model(Checkpoint checkpoint, const Granularities& granularities = {});

}  // namespace mnm
