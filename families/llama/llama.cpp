// Llama-shaped MatFormer decoders: the tensor table and the width space. A layer's width is its
// FFN's hidden size; gate and up keep their first rows, down its first columns, attention is whole.
// Kudugunta et al., "MatFormer: Nested Transformer for Elastic Inference" (arXiv 2310.07707),
// sec. 3.
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"
#include "families/family.h"
#include "families/llama/config.h"
#include "families/llama/decilm.h"
#include "families/llama/gguf.h"
#include "families/llama/huggingface.h"
#include "families/llama/onnx.h"
#include "families/llama/runtimes.h"
#include "families/may_skip.h"

namespace mnm {
namespace {

constexpr double kProduct = 2;  // FLOPs per token and element of a product's operand
constexpr int kRows = 0, kColumns = 1;
constexpr const char *kEmbedding = "model.embed_tokens", *kHead = "lm_head";

// So that a norm begins by multiplying by 1.
Init norm_init(const LlamaConfig& config) {
  return config.norm_offset != 0 ? Init::kZero : Init::kOne;
}

// Appends tensors under one name prefix, for one layer (-1: none).
struct TableWriter {
  TensorTable& table;
  double init_std;
  std::string prefix;
  int layer = -1;
  Init norm_init = Init::kOne;

  TensorSpec& add(const std::string& name, std::vector<std::int64_t> shape, Init init) {
    TensorSpec& tensor = table.tensors.emplace_back();
    tensor.name = prefix + name;
    tensor.shape = std::move(shape);
    tensor.layer = layer;
    tensor.init = init;
    tensor.init_std = init_std;
    return tensor;
  }
  TensorSpec& norm(const std::string& name, std::int64_t size) {
    TensorSpec& tensor = add(name + ".weight", {size}, norm_init);
    tensor.norm_groups = 1;
    return tensor;
  }
  TensorSpec& bias(const std::string& name, std::int64_t size) {
    return add(name + ".bias", {size}, Init::kZero);
  }
  TensorSpec& matrix(const std::string& name, std::int64_t rows, std::int64_t columns) {
    TensorSpec& tensor = add(name + ".weight", {rows, columns}, Init::kNormal);
    tensor.flops_per_element = kProduct;
    return tensor;
  }
};

// The first `width` of that dimension are kept.
void cut(TensorSpec& tensor, int dim) {
  tensor.cut_dim = dim;
  tensor.pieces = {Piece{.begin = 0, .fixed = 0, .num = 1, .den = 1}};
}

void add_layer(const LlamaConfig& config, std::size_t layer, TensorTable& table) {
  TableWriter to{table, config.initializer_range, fmt::format("model.layers.{}.", layer),
                 static_cast<int>(layer), norm_init(config)};
  const std::int64_t hidden = config.hidden_size, q = config.q_size(), kv = config.kv_size();
  const std::int64_t full = config.full_width(layer);

  const LlamaArchitecture& architecture = *config.architecture;
  if (architecture.norms_before()) to.norm("input_layernorm", hidden);
  const auto attention = [&](const std::string& name, std::int64_t rows, std::int64_t columns,
                             bool bias) {
    to.matrix("self_attn." + name, rows, columns);
    if (bias) to.bias("self_attn." + name, rows);
  };
  if (architecture.fused_qkv) {
    attention("qkv_proj", q + 2 * kv, hidden, config.qkv_bias);
  } else {
    attention("q_proj", q, hidden, config.qkv_bias);
    attention("k_proj", kv, hidden, config.qkv_bias);
    attention("v_proj", kv, hidden, config.qkv_bias);
  }
  attention("o_proj", hidden, q, config.o_bias);
  if (config.head_norms != HeadNorms::kNone) {
    to.norm("self_attn.q_norm", config.q_norm_size());
    to.norm("self_attn.k_norm", config.k_norm_size());
  }

  if (architecture.norms_after()) to.norm(std::string(architecture.attention_norm_after), hidden);
  if (architecture.norms_before()) to.norm(std::string(architecture.ffn_norm()), hidden);
  const bool fused = architecture.fused_ffn;
  if (fused) {
    TensorSpec& both = to.matrix("mlp.gate_up_proj", 2 * full, hidden);
    cut(both, kRows);
    both.pieces.push_back({.begin = full, .fixed = 0, .num = 1, .den = 1});
  }
  for (const std::string name : {"mlp.gate_proj", "mlp.up_proj"}) {
    if (fused) break;
    cut(to.matrix(name, full, hidden), kRows);
    if (config.mlp_bias) cut(to.bias(name, full), kRows);
  }
  cut(to.matrix("mlp.down_proj", hidden, full), kColumns);
  if (config.mlp_bias) to.bias("mlp.down_proj", hidden);
  if (config.compensated) {
    TensorSpec& means = to.add("mlp.down_proj.input_mean", {full}, Init::kZero);
    cut(means, kRows);
    means.nested_only = true;
  }
  if (architecture.norms_after()) to.norm(std::string(architecture.ffn_norm_after), hidden);
}

constexpr Exporter kExporters[] = {
    {"huggingface",
     [](const NestedModel& submodel, Dtype) -> FormatModel {
       return HuggingFaceTexts{submodel.config,
                               llama_huggingface_bridge(submodel, submodel.space.full())};
     }},
    {"decilm",
     [](const NestedModel& submodel, Dtype) -> FormatModel {
       return llama_block_configs(submodel);
     }},
    {"gguf",
     [](const NestedModel& submodel, Dtype) -> FormatModel { return llama_gguf(submodel); }},
    {"onnx",
     [](const NestedModel& submodel, Dtype stored) -> FormatModel {
       return llama_onnx(submodel, stored);
     }},
};

class Llama final : public Family {
 public:
  std::string_view name() const override { return "llama"; }

  bool recognizes(const nlohmann::json& config) const override {
    const auto type = config.find("model_type");
    return type != config.end() && !type->is_null() &&
           (*type == kDeciLmModelType || find_llama_architecture(config) != nullptr);
  }

  std::vector<ModelKind> kinds() const override {
    std::vector<ModelKind> all;
    for (const LlamaArchitecture& row : llama_architectures()) {
      all.push_back({std::string(row.model_type), class_of(row), std::string(row.published),
                     std::string(row.differs), std::string(row.gguf),
                     row.mixes_in_gguf() ? "deci" : ""});
    }
    all.push_back({std::string(kDeciLmModelType), std::string(kDeciLmArchitecture),
                   "Llama-Nemotron, where every layer has its attention and its FFN",
                   "widths as block_configs says them", "llama", "deci"});
    return all;
  }

  NestedModel describe(const nlohmann::json& given, const Nesting& nesting) const override {
    const nlohmann::json json = spelled(given);
    const LlamaConfig config = parse_llama_config(json, nesting);
    NestedModel model;
    model.family = name();
    model.config = json;
    model.dtype = config.dtype;
    model.vocab_size = config.vocab_size;
    model.hidden_size = config.hidden_size;
    model.max_context = config.context();
    model.tied_head = config.tied;
    model.takes_branches = true;
    model.flow_per_token = config.hidden_size;

    TableWriter to{model.table, config.initializer_range, "", -1, norm_init(config)};
    TensorSpec& embedding = to.matrix(kEmbedding, config.vocab_size, config.hidden_size);
    embedding.role = Role::kEmbedding;
    embedding.flops_per_element = config.tied ? kProduct : 0;  // looked up; a product as the head
    // Readers of this config count and write the biases that the key implies.
    if (config.compensated) model.config[config.architecture->mlp_bias] = true;
    for (std::size_t layer = 0; layer < config.granularities.size(); ++layer) {
      add_layer(config, layer, model.table);
      if (config.compensated) {
        const std::string down = fmt::format("model.layers.{}.mlp.down_proj.", layer);
        model.compensation.push_back({down + "weight", down + "input_mean", down + "bias"});
      }
      LayerChoices& choices = model.space.layers.emplace_back();
      choices.granularities = config.granularities[layer];
      choices.step = 1;
      choices.why_not = fmt::format("a layer keeps the first 1 to {} of its FFN neurons",
                                    config.full_width(layer));
      model.mixing.push_back({.flops_per_attended = 4.0 * static_cast<double>(config.q_size()),
                              .kv_per_token = 2 * config.kv_size(),
                              .window = config.windows[layer],
                              .flow_per_token = config.hidden_size});
    }
    allow_skips(json, nesting.may_skip, model.space);
    to.norm("model.norm", config.hidden_size);
    if (!config.tied) {
      to.matrix(kHead, config.vocab_size, config.hidden_size).role = Role::kHead;
    }
    return model;
  }

  std::vector<std::string> ignored_tensors() const override {
    // Each layer's stored by transformers before 4.32, the model's by others.
    return {".self_attn.rotary_emb.inv_freq", "model.rotary_emb.inv_freq"};
  }

  std::map<std::string, std::string> other_names(const NestedModel& model) const override {
    std::map<std::string, std::string> names;
    std::set<std::string_view> known;
    for (const TensorSpec& spec : model.table.tensors) known.insert(spec.name);
    const auto add = [&](const OtherName& row, const std::string& base) {
      for (const char* part : {".weight", ".bias"}) {
        const std::string name = fmt::format("{}{}{}", base, row.name, part);
        if (known.contains(name)) names[fmt::format("{}{}{}", base, row.stored, part)] = name;
      }
    };
    for (const OtherName& row : find_llama_architecture(model.config)->other_names) {
      if (!row.in_layer) add(row, "");
      for (std::size_t layer = 0; row.in_layer && layer < model.layers(); ++layer) {
        add(row, fmt::format("model.layers.{}.", layer));
      }
    }
    return names;
  }

  std::vector<InterleavedRows> interleaved_rows(const NestedModel& model) const override {
    std::vector<InterleavedRows> all;
    const LlamaConfig config = parse_llama_config(model.config, {});
    const std::string_view fused = config.architecture->grouped_qkv;
    const std::int64_t dim = config.head_dim, q_rows = config.heads / config.kv_heads * dim;
    const std::int64_t period = q_rows + 2 * dim;
    for (std::size_t layer = 0; !fused.empty() && layer < model.layers(); ++layer) {
      const std::string base = fmt::format("model.layers.{}.", layer);
      for (const std::string part : {".weight", ".bias"}) {
        if (part == ".bias" && !config.qkv_bias) continue;
        const auto add = [&](const char* name, std::int64_t first, std::int64_t rows) {
          all.push_back({.name = fmt::format("{}self_attn.{}{}", base, name, part),
                         .stored = fmt::format("{}{}{}", base, fused, part),
                         .first = first,
                         .rows = rows,
                         .period = period,
                         .height = config.kv_heads * period});
        };
        add("q_proj", 0, q_rows);
        add("k_proj", q_rows, dim);
        add("v_proj", q_rows + dim, dim);
      }
    }
    return all;
  }

  std::map<std::string, std::string> copies(const NestedModel& model) const override {
    if (!model.tied_head) return {};
    return {{fmt::format("{}.weight", kHead), fmt::format("{}.weight", kEmbedding)}};
  }

  nlohmann::json with_layers(const nlohmann::json& config, std::int64_t layers) const override {
    return llama_config_with_layers(spelled(config), layers);
  }

  nlohmann::json huggingface_config(const NestedModel& model, const Widths& widths,
                                    Dtype dtype) const override {
    return llama_huggingface_config(model, widths, dtype);
  }
  std::map<std::string, std::string> huggingface_bridge(const NestedModel& model,
                                                        const Widths& widths) const override {
    return llama_huggingface_bridge(model, widths);
  }
  // A neuron whose rows of gate and up are zeros gives act(0) * 0, and act(0) is 0 for every
  // activation that is read.
  std::string why_not_padded(const NestedModel&, const Widths&) const override { return ""; }
  nlohmann::json with_per_layer_config(const NestedModel& model) const override {
    return llama_per_layer_config(model);
  }
  std::span<const Exporter> exporters() const override { return kExporters; }
  std::vector<RuntimeRule> runtimes(const NestedModel& model) const override {
    return llama_runtimes(model);
  }

 private:
  static nlohmann::json spelled(const nlohmann::json& config) {
    const auto type = config.find("model_type");
    const bool blocks = type != config.end() && *type == kDeciLmModelType;
    return blocks ? llama_spelling(config) : config;
  }
};

}  // namespace

const Family& llama_family() {
  static const Llama family;
  return family;
}

}  // namespace mnm
