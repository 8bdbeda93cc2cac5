#include "families/family.h"

#include <algorithm>

#include "base/error.h"
#include "families/compensation.h"
#include "families/config_reader.h"
#include "families/granularities.h"

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

std::string known_types() {
  std::string types;
  for (const Family* family : families()) {
    for (const ModelKind& kind : family->kinds()) {
      types += (types.empty() ? "" : ", ") + kind.model_type;
    }
  }
  return types;
}

// What a config of no known family says itself of why it is another; empty: nothing.
std::string what_is_other(const nlohmann::json& config) {
  const ConfigReader keys(config);
  if (const auto text = keys.object("text_config")) {
    const nlohmann::json own = {{"model_type", text->text("model_type").value_or("")}};
    const bool read = std::ranges::any_of(
        families(), [&](const Family* family) { return family->recognizes(own); });
    if (!read) return "; it is a model of more than text, and its text_config is of none of them";
    return fmt::format(
        "; it is a model of more than text, whose text_config is {}: its text part is read once it "
        "is saved alone, by the lines of docs/models.md",
        shown(own["model_type"]));
  }
  for (const char* key :
       {"num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts"}) {
    const nlohmann::json* experts = keys.find(key);
    if (experts != nullptr && (!experts->is_number() || *experts > 1)) {
      return fmt::format("; its {} is {}, and a layer of these has one FFN, not several", key,
                         shown(*experts));
    }
  }
  return "";
}

}  // namespace

NestedModel Family::submodel(const NestedModel& model, const Widths& widths, Dtype dtype) const {
  return describe(huggingface_config(model, widths, dtype), {});
}

nlohmann::json Family::config_of_table(const NestedModel& model) const {
  const auto type = model.config.find("model_type");
  if (type == model.config.end()) return model.config;
  if (other_names(model).empty() && interleaved_rows(model).empty()) return model.config;
  const Widths full = model.space.full();
  if (!huggingface_bridge(model, full).empty()) return model.config;
  nlohmann::json written = huggingface_config(model, full, model.dtype);
  if (written["model_type"] == *type) return model.config;
  for (const char* key : {kCompensatedKey, kGranularitiesKey}) {
    if (model.config.contains(key)) written[key] = model.config[key];
  }
  return written;
}

std::string Family::why_not_padded(const NestedModel&, const Widths&) const {
  return fmt::format("the family '{}' does not say what zeros would change", name());
}

nlohmann::json Family::with_per_layer_config(const NestedModel&) const {
  fail("the family '{}' has no config with per_layer_config: leave out --per-layer-config", name());
}

const Exporter& Family::exporter(std::string_view format) const {
  const std::span<const Exporter> all = exporters();
  const auto found = std::ranges::find(all, format, &Exporter::format);
  if (found == all.end()) {
    fail("the family '{}' has no exporter to {}: choose another format", name(), format);
  }
  if (found->state == nullptr) fail("{}", found->why_not);
  return *found;
}

FormatModel Family::in_format(std::string_view format, const NestedModel& model,
                              const Widths& widths, Dtype stored) const {
  return exporter(format).state(submodel(model, widths, stored), stored);
}

std::span<const Family* const> families() {
#define MNM_FAMILY(name) &name##_family(),
  static const Family* const all[] = {
#include "families/list.inc"
  };
#undef MNM_FAMILY
  return all;
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
  if (type == nullptr) fail("model_type is missing: expected one of {}", known_types());
  fail("model_type is {}, which is of no family known here: there are {}{}", shown(*type),
       known_types(), what_is_other(config));
}

}  // namespace mnm
