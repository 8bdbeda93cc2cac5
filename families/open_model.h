// Opens a directory as a checked nested model, or reads what a config.json alone describes.
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
// The same for a checkpoint that is open already.
OpenedModel open_model(Checkpoint checkpoint, const Nesting& nesting = {});

// The model without the parts that are not computed here (Family::other_parts). Its tensors have
// the names that such a model has.
OpenedModel text_only(OpenedModel opened, const Nesting& nesting = {});

// The checkpoint's tensors that belong to such parts, in its order.
std::vector<const StoredTensor*> other_parts(const Family& family, const NestedModel& model,
                                             const Checkpoint& checkpoint);

struct DescribedModel {
  const Family* family = nullptr;
  NestedModel model;
};

// What a config describes, without any tensors. `where` is its name in errors.
DescribedModel describe_model(const nlohmann::json& config, const Nesting& nesting,
                              const std::filesystem::path& where);

// The config.json that `path` stands for if there are no tensors to open: a file named *.json, or
// the one in a directory that holds nothing that could be weights. Nothing if open_model must say
// what is there.
std::optional<std::filesystem::path> bare_config(const std::filesystem::path& path);

// The same, with a checkpoint whose tensors have names, shapes and the config's dtype but no bytes.
// They lie one after the other from the beginning of a page on. This is enough for every plan, and
// not for reading a weight.
OpenedModel without_weights(const std::filesystem::path& config, const Nesting& nesting);

}  // namespace mnm
