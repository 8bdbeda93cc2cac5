// Mamba-2 language models, nested as MatMamba is: the tensor table and the width space. A layer's
// width m stands for its first 2m inner channels, hence its first 2m / head_dim heads; B, C and the
// model's own dimension are whole.
// Shukla et al., "MatMamba: A Matryoshka State Space Model" (arXiv 2410.06718), sec. 3; Dao & Gu,
// "Transformers are SSMs" (arXiv 2405.21060), sec. 7.
#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "families/config_reader.h"
#include "families/family.h"
#include "families/mamba2/config.h"
#include "families/mamba2/gguf.h"
#include "families/mamba2/huggingface.h"
#include "families/mamba2/onnx.h"
#include "families/mamba2/runtimes.h"
#include "families/mamba2/table.h"
#include "families/may_skip.h"

namespace mnm {
namespace {

constexpr const char *kEmbedding = "backbone.embeddings.weight", *kHead = "lm_head.weight";

constexpr Exporter kExporters[] = {
    {"huggingface",
     [](const NestedModel& submodel, Dtype) -> FormatModel {
       return HuggingFaceTexts{submodel.config,
                               mamba2_huggingface_bridge(submodel, submodel.space.full())};
     }},
    {"decilm", nullptr,
     "mamba2 has no layers that block_configs describe: it has no attention and no FFN"},
    {"gguf",
     [](const NestedModel& submodel, Dtype) -> FormatModel { return mamba2_gguf(submodel); }},
    {"onnx",
     [](const NestedModel& submodel, Dtype stored) -> FormatModel {
       return mamba2_onnx(submodel, stored);
     }},
};

class Mamba2 final : public Family {
 public:
  std::string_view name() const override { return "mamba2"; }

  bool recognizes(const nlohmann::json& config) const override {
    const auto type = config.find("model_type");
    if (type == config.end()) return is_mamba_ssm_config(config);
    return *type == "mamba2" || *type == kMamba2BridgeModelType;
  }

  std::vector<ModelKind> kinds() const override {
    return {
        {"mamba2", "Mamba2ForCausalLM",
         "MatMamba, Mamba-2, Codestral Mamba; also without a model_type, as mamba_ssm saves them",
         "", "mamba2", ""}};
  }

  NestedModel describe(const nlohmann::json& json, const Nesting& nesting) const override {
    const Mamba2Config config = parse_mamba2_config(json, nesting);
    NestedModel model;
    model.family = name();
    model.config = json;
    model.dtype = config.dtype;
    model.vocab_size = config.vocab_size;
    model.hidden_size = config.hidden_size;
    model.max_context = kAnyContext;
    model.tied_head = config.tied;
    model.flow_per_token = config.hidden_size;
    model.flow_in_f32 = config.residual_in_fp32;

    Mamba2Tensors to{model.table, ""};
    TensorSpec& embedding =
        to.add(kEmbedding, {config.vocab_size, config.hidden_size}, Init::kNormal);
    embedding.role = Role::kEmbedding;
    embedding.init_std = config.initializer_range;
    embedding.flops_per_element =
        config.tied ? Mamba2Tensors::kProduct : 0;  // looked up; a product as the head
    for (std::size_t layer = 0; layer < config.granularities.size(); ++layer) {
      Mamba2Tensors of_layer{model.table, fmt::format("backbone.layers.{}.", layer),
                             static_cast<int>(layer)};
      of_layer.norm("norm.weight", config.hidden_size, 1);
      add_mamba2_mixer(config, of_layer);
      model.space.layers.push_back(mamba2_choices(config, layer));
      model.mixing.push_back(mamba2_mixing(config));
    }
    allow_skips(json, nesting.may_skip, model.space);
    to.norm("backbone.norm_f.weight", config.hidden_size, 1);
    if (!config.tied) {
      to.product(kHead, {config.vocab_size, config.hidden_size}, config.hidden_size).role =
          Role::kHead;
    }
    if (is_mamba_ssm_config(json)) {
      model.config = mamba2_huggingface_keys(config, model.space.full(), config.dtype,
                                             nlohmann::json::object());
      if (!stated_dtype(json)) {
        for (const char* key : {"dtype", "torch_dtype"}) model.config.erase(key);
      }
      write_granularities(model.space, model.space.full(), model.config);
      write_may_skip(model.space, model.space.full(), model.config);
      if (json.contains("mixnmatch")) model.config["mixnmatch"] = json["mixnmatch"];
    }
    return model;
  }

  std::string foreign_weights(const Checkpoint& checkpoint) const override {
    for (const StoredTensor& tensor : checkpoint.tensors()) {
      if (!tensor.name.ends_with(".mixer.x_proj.weight")) continue;
      return "its weights are the first Mamba's (x_proj, dt_proj), whose block is not computed "
             "here";
    }
    return {};
  }
  std::map<std::string, std::string> other_names(const NestedModel&) const override {
    return {{"backbone.embedding.weight", kEmbedding}};  // mamba_ssm's
  }
  std::map<std::string, std::string> copies(const NestedModel& model) const override {
    if (!model.tied_head) return {};
    return {{kHead, kEmbedding}};
  }

  nlohmann::json with_layers(const nlohmann::json& config, std::int64_t layers) const override {
    return mamba2_config_with_layers(config, layers);
  }
  nlohmann::json huggingface_config(const NestedModel& model, const Widths& widths,
                                    Dtype dtype) const override {
    return mamba2_huggingface_config(model, widths, dtype);
  }
  std::map<std::string, std::string> huggingface_bridge(const NestedModel& model,
                                                        const Widths& widths) const override {
    return mamba2_huggingface_bridge(model, widths);
  }
  std::string why_not_padded(const NestedModel&, const Widths&) const override {
    return "the norm of a layer's gated output runs over its width, and zeros would make its mean "
           "smaller";
  }
  std::span<const Exporter> exporters() const override { return kExporters; }
  std::vector<RuntimeRule> runtimes(const NestedModel& model) const override {
    return mamba2_runtimes(model);
  }
};

}  // namespace

const Family& mamba2_family() {
  static const Mamba2 family;
  return family;
}

}  // namespace mnm
