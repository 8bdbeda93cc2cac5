#include "families/open_model.h"

#include <map>
#include <string>
#include <utility>

#include "families/config_reader.h"
#include "model/error.h"

namespace mnm {
namespace {

// What most of the elements are stored in: the dtype of a config that states none.
Dtype usual_dtype(const Checkpoint& checkpoint) {
  std::map<Dtype, double> elements;
  for (const StoredTensor& tensor : checkpoint.tensors()) {
    elements[tensor.dtype] += static_cast<double>(tensor.elements());
  }
  Dtype usual = Dtype::kF32;
  for (const auto& [dtype, count] : elements) {
    if (count > elements[usual]) usual = dtype;
  }
  return usual;
}

}  // namespace

OpenedModel open_model(const std::filesystem::path& directory, const Granularities& granularities) {
  return open_model(Checkpoint::open(directory), granularities);
}

OpenedModel open_model(Checkpoint checkpoint, const Granularities& granularities) {
  const nlohmann::json& config = checkpoint.config();
  const Family* family = nullptr;
  NestedModel model;
  try {
    family = &family_of(config);
    model = family->describe(config, granularities);
    if (!stated_dtype(config)) model.dtype = usual_dtype(checkpoint);
  } catch (const UsageError&) {
    throw;
  } catch (const Error& error) {
    fail("{}: {}", (checkpoint.directory() / "config.json").string(), error.what());
  }
  check_tensors(checkpoint, model, family->ignored_tensors());
  return {family, std::move(checkpoint), std::move(model)};
}

}  // namespace mnm
