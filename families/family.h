// What a model family says about itself without LibTorch. Its fold (embed, step, readout) is the
// other half: fold/fold.h.
#pragma once

#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "export/runtimes.h"
#include "families/exporters.h"
#include "families/named_widths.h"
#include "families/nesting.h"
#include "model/checkpoint.h"
#include "model/nested_model.h"

namespace mnm {

// One kind of config.json that a family reads: a row of docs/models.md.
struct ModelKind {
  std::string model_type;  // "qwen2"
  std::string class_name;  // as `architectures` spells it: "Qwen2ForCausalLM"
  std::string published;   // who has published such models
  std::string differs;     // from the family's first kind; empty: nothing
  std::string gguf;        // llama.cpp's architecture for layers of one width
  std::string gguf_mixed;  // and for layers of different widths; empty: it has none
};

class Family {
 public:
  virtual ~Family() = default;

  virtual std::string_view name() const = 0;
  // Whether this family reads this config.json (model_type, architectures).
  virtual bool recognizes(const nlohmann::json& config) const = 0;
  // All kinds of such configs, in the order in which people shall read them.
  virtual std::vector<ModelKind> kinds() const = 0;
  // The whole model as data. Error where the config is contradictory or asks for what the family
  // does not compute, naming the key; UsageError where the user's `nesting` is at fault.
  virtual NestedModel describe(const nlohmann::json& config, const Nesting& nesting) const = 0;
  // The config with what only the tensors say, where checkpoints of one config differ.
  virtual nlohmann::json completed(const nlohmann::json& config, const Checkpoint&) const {
    return config;
  }
  // Why these tensors are not this family's, if they are known to be another's; else nothing.
  virtual std::string foreign_weights(const Checkpoint&) const { return {}; }
  // The ends of names of tensors that old exporters stored, and that are recomputed.
  virtual std::vector<std::string> ignored_tensors() const { return {}; }
  // Other names that a checkpoint may use for the table's tensors: other name -> the table's.
  virtual std::map<std::string, std::string> other_names(const NestedModel&) const { return {}; }
  // Tensors of the table that a checkpoint may store in the rows of another one.
  virtual std::vector<InterleavedRows> interleaved_rows(const NestedModel&) const { return {}; }
  // Tensors that a checkpoint may store besides the table's, because it writes a shared tensor
  // twice: name of the copy -> the table's tensor, which it must equal.
  virtual std::map<std::string, std::string> copies(const NestedModel&) const { return {}; }
  // The beginnings of names of tensors that belong to other parts of the model than the one that is
  // computed here, such as towers for images. An export to Hugging Face carries them as they are.
  virtual std::vector<std::string> other_parts(const NestedModel&) const { return {}; }
  // The config of the model without these parts.
  virtual nlohmann::json text_config(const NestedModel& model) const { return model.config; }

  // The config of a model with so many layers: the first layers of this config, or more of the same
  // if all are alike. UsageError if it states something per layer and has fewer layers.
  virtual nlohmann::json with_layers(const nlohmann::json& config, std::int64_t layers) const = 0;

  // config.json of the submodel at `widths`, in Hugging Face's spelling, stored in `dtype`.
  // describe() makes the submodel from it. Skipped layers are gone, and the others are numbered
  // anew. It loads natively if all kept widths are equal and Hugging Face has a class for that;
  // else it names the bridge.
  virtual nlohmann::json huggingface_config(const NestedModel& model, const Widths& widths,
                                            Dtype dtype) const = 0;
  // Files that must lie beside that config: file name -> content. Empty if it loads natively.
  virtual std::map<std::string, std::string> huggingface_bridge(const NestedModel& model,
                                                                const Widths& widths) const = 0;
  // Why a submodel whose narrower layers are padded up to the widest would compute something else;
  // empty: it computes the same.
  virtual std::string why_not_padded(const NestedModel& model, const Widths& widths) const;
  // Whether padding repeats the rows that are kept of this tensor, instead of zeros.
  virtual bool pads_by_repeating(const NestedModel&, const TensorSpec&) const { return false; }
  // config.json of a model in Hugging Face's spelling, as a reader wants it that takes widths per
  // layer from the key per_layer_config. Error if the family has none.
  virtual nlohmann::json with_per_layer_config(const NestedModel& model) const;
  // The formats that submodels can be written in, or the reasons why not, in the order in which
  // people shall read them.
  virtual std::span<const Exporter> exporters() const = 0;
  // Which runtimes load submodels of this model, and at which widths. The rules do not depend on
  // the widths that are asked for. They are in the order in which people shall read them. Empty if
  // nothing is known.
  virtual std::vector<RuntimeRule> runtimes(const NestedModel&) const { return {}; }

  // Submodels of this model that its authors have published.
  virtual std::vector<NamedWidths> published(const NestedModel&) const { return {}; }

  // The submodel at `widths` as a model of its own, whose full widths these are. The tensors of its
  // table are those that plan_slices() keeps of the model, under the same names. What the widths
  // leave out of a compensated model is a part of the submodel's biases (artifact/fixed_biases.h).
  NestedModel submodel(const NestedModel& model, const Widths& widths, Dtype dtype) const;
  // The config to write beside tensors that have the names of the model's table. It is
  // model.config, but for a model_type whose checkpoints have other names or their rows in another
  // order, and whose submodels are written as another model_type: then huggingface_config() at full
  // width.
  nlohmann::json config_of_table(const NestedModel& model) const;
  // The row of exporters() for a format. Error, with the row's sentence, if it has no function.
  const Exporter& exporter(std::string_view format) const;
  // The submodel in the terms of a format: submodel() and exporter() together.
  FormatModel in_format(std::string_view format, const NestedModel& model, const Widths& widths,
                        Dtype stored) const;
};

// Every family, one line each in families/list.inc.
std::span<const Family* const> families();
const Family& family_named(std::string_view name);      // Error lists those there are
const Family& family_of(const nlohmann::json& config);  // Error names the model_type

}  // namespace mnm
