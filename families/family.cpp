#include "families/family.h"

#include "families/config_reader.h"
#include "model/error.h"

namespace mnm {

#define MNM_FAMILY(name) const Family& name##_family();
#include "families/list.inc"
#undef MNM_FAMILY

namespace {

std::string known_names() {
  std::string names;
  for (const Family* family : families()) {
    names += (names.empty() ? "" : ", ") + std::string(family->name());
  }
  return names;
}

}  // namespace

OnnxModel Family::onnx(const NestedModel&, const Widths&, Dtype) const {
  fail("the family '{}' states no ONNX graph: choose another format", name());
}

std::span<const Family* const> families() {
#define MNM_FAMILY(name) &name##_family(),
  static const Family* const all[] = {
#include "families/list.inc"
  };
#undef MNM_FAMILY
  return all;
}

HuggingFaceTexts Family::block_configs(const NestedModel&, const Widths&, Dtype) const {
  fail("{} has no layers that block_configs describe", name());
}

const Family& family_named(std::string_view name) {
  for (const Family* family : families()) {
    if (family->name() == name) return *family;
  }
  fail("no family is called '{}': there are {}", name, known_names());
}

const Family& family_of(const nlohmann::json& config) {
  const ConfigReader keys(config);
  for (const Family* family : families()) {
    if (family->recognizes(config)) return *family;
  }
  const nlohmann::json* type = keys.find("model_type");
  fail("model_type is {}, which is of no family known here: there are {}",
       type == nullptr ? "missing" : shown(*type), known_names());
}

}  // namespace mnm
