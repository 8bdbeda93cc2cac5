// From a directory to a checked nested model, or from a config.json alone to what it describes.
#pragma once

#include <filesystem>
#include <optional>

#include "families/family.h"
#include "model/checkpoint.h"

namespace mnm {

struct OpenedModel {
  const Family* family = nullptr;
  Checkpoint checkpoint;
  NestedModel model;  // its table agrees with the checkpoint's tensors
};

OpenedModel open_model(const std::filesystem::path& directory, const Nesting& nesting = {});
// Of a checkpoint that is open already.
OpenedModel open_model(Checkpoint checkpoint, const Nesting& nesting = {});

struct DescribedModel {
  const Family* family = nullptr;
  NestedModel model;
};

// What a config says, without any tensors. `where` names it in errors.
DescribedModel describe_model(const nlohmann::json& config, const Nesting& nesting,
                              const std::filesystem::path& where);

// The config.json that `path` stands for where there are no tensors to open: a file named *.json,
// or the one of a directory that holds nothing that could be weights. Nothing where open_model is
// the one to say what is there.
std::optional<std::filesystem::path> bare_config(const std::filesystem::path& path);

// The same as a checkpoint whose tensors have names, shapes and the config's dtype, and lie one
// after the other from the beginning of a page on, but have no bytes: enough for every plan, and
// for nothing that reads a weight.
OpenedModel without_weights(const std::filesystem::path& config, const Nesting& nesting);

}  // namespace mnm
