// Mamba-2 language models, nested as MatMamba is: the tensor table and the width space. A layer's
// width m stands for its first 2m inner channels, hence its first 2m / head_dim heads; B, C and the
// model's own dimension are whole.
// Shukla et al., "MatMamba: A Matryoshka State Space Model" (arXiv 2410.06718), sec. 3; Dao & Gu,
// "Transformers are SSMs" (arXiv 2405.21060), sec. 7.
#include <algorithm>
#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "families/config_reader.h"
#include "families/family.h"
#include "families/mamba2/mamba2_config.h"
#include "families/mamba2/mamba2_gguf.h"
#include "families/mamba2/mamba2_huggingface.h"
#include "families/mamba2/mamba2_onnx.h"
#include "families/mamba2/mamba2_runtimes.h"
#include "families/may_skip.h"

namespace mnm {
namespace {

constexpr double kProduct = 2;  // FLOPs per token and element of a product's operand
// Per token, inner channel and element of the state: the decay (1), the outer product of x and B
// and its sum into the state (2), the product with C (2).
constexpr double kScan = 5;
constexpr int kRows = 0, kColumns = 1;
constexpr const char *kEmbedding = "backbone.embeddings.weight", *kHead = "lm_head.weight";

// Appends tensors under one name prefix, for one layer (-1: none).
struct TableWriter {
  TensorTable& table;
  std::string prefix;
  int layer = -1;

  TensorSpec& add(const std::string& name, std::vector<std::int64_t> shape, Init init,
                  double flops = 0) {
    TensorSpec& tensor = table.tensors.emplace_back();
    tensor.name = prefix + name;
    tensor.shape = std::move(shape);
    tensor.layer = layer;
    tensor.init = init;
    tensor.flops_per_element = flops;
    return tensor;
  }
  TensorSpec& norm(const std::string& name, std::int64_t size, std::int64_t groups) {
    TensorSpec& tensor = add(name, {size}, Init::kOne);
    tensor.norm_groups = static_cast<int>(groups);
    return tensor;
  }
  // As torch.nn.Linear and Conv1d begin: uniform within 1 / sqrt(fan in).
  TensorSpec& product(const std::string& name, std::vector<std::int64_t> shape,
                      std::int64_t fan_in) {
    TensorSpec& tensor = add(name, std::move(shape), Init::kUniform, kProduct);
    tensor.init_high = 1 / std::sqrt(static_cast<double>(fan_in));
    tensor.init_low = -tensor.init_high;
    return tensor;
  }
};

void cut(TensorSpec& tensor, int dim, std::vector<Piece> pieces) {
  tensor.cut_dim = dim;
  tensor.pieces = std::move(pieces);
}

// Initial values: MatMamba's, which are Mamba-2's (mamba_ssm/modules/mamba2.py).
void add_layer(const Mamba2Config& config, std::size_t layer, TensorTable& table) {
  TableWriter to{table, fmt::format("backbone.layers.{}.", layer), static_cast<int>(layer)};
  const Width full = config.full_width(layer);
  const std::int64_t hidden = config.hidden_size, inner = config.inner(full),
                     heads = config.heads(full), group_state = config.group_state();
  const std::int64_t kernel = config.conv_kernel, mixed = inner + 2 * group_state;
  const Piece channels{.begin = 0, .fixed = 0, .num = kInnerPerWidth, .den = 1};
  const Piece per_head{.begin = 0, .fixed = 0, .num = kInnerPerWidth, .den = config.head_dim};
  const auto from = [](Piece piece, std::int64_t begin) {
    piece.begin = begin;
    return piece;
  };
  const auto whole = [](std::int64_t begin, std::int64_t length) {
    return Piece{.begin = begin, .fixed = length, .num = 0, .den = 1};
  };

  to.norm("norm.weight", hidden, 1);

  // [z | x | B C | dt]
  const std::vector<Piece> projected = {channels, from(channels, inner),
                                        whole(2 * inner, 2 * group_state),
                                        from(per_head, 2 * inner + 2 * group_state)};
  cut(to.product("mixer.in_proj.weight", {inner + mixed + heads, hidden}, hidden), kRows,
      projected);
  if (config.bias) {
    cut(to.add("mixer.in_proj.bias", {inner + mixed + heads}, Init::kZero), kRows, projected);
  }

  const std::vector<Piece> convolved = {channels, whole(inner, 2 * group_state)};
  cut(to.product("mixer.conv1d.weight", {mixed, 1, kernel}, kernel), kRows, convolved);
  if (config.conv_bias) {
    TensorSpec& bias = to.product("mixer.conv1d.bias", {mixed}, kernel);
    bias.flops_per_element = 0;
    cut(bias, kRows, convolved);
  }

  TensorSpec& dt = to.add("mixer.dt_bias", {heads}, Init::kInverseSoftplus);
  dt.init_low = std::max(config.time_step_min, config.time_step_floor);
  dt.init_high = std::max(config.time_step_max, config.time_step_floor);
  cut(dt, kRows, {per_head});
  TensorSpec& a_log = to.add("mixer.A_log", {heads}, Init::kLogOfUniform);
  a_log.init_low = 1;
  a_log.init_high = 16;
  cut(a_log, kRows, {per_head});
  cut(to.add("mixer.D", {heads}, Init::kOne), kRows, {per_head});

  cut(to.norm("mixer.norm.weight", inner, config.groups), kRows, {channels});
  TensorSpec& out = to.product("mixer.out_proj.weight", {hidden, inner}, inner);
  if (config.rescale_prenorm_residual) {
    out.init_high /= std::sqrt(static_cast<double>(config.layers));
    out.init_low = -out.init_high;
  }
  cut(out, kColumns, {channels});
  if (config.bias) to.add("mixer.out_proj.bias", {hidden}, Init::kZero);
}

LayerChoices choices_of(const Mamba2Config& config, std::size_t layer) {
  LayerChoices choices;
  choices.granularities = config.granularities[layer];
  const Width full = config.full_width(layer);
  if (config.groups > 1) {
    choices.why_not = fmt::format(
        "B and C have {} groups, and which heads read a group moves with the width, so that only "
        "the whole layer is a model",
        config.groups);
    return choices;
  }
  choices.step = config.step();
  choices.why_not = fmt::format(
      "width m keeps 2m channels in whole heads of {}, so widths are multiples of {} up to {}",
      config.head_dim, choices.step, full);
  return choices;
}

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

    TableWriter to{model.table, ""};
    TensorSpec& embedding =
        to.add(kEmbedding, {config.vocab_size, config.hidden_size}, Init::kNormal);
    embedding.role = Role::kEmbedding;
    embedding.init_std = config.initializer_range;
    embedding.flops_per_element = config.tied ? kProduct : 0;  // looked up; a product as the head
    for (std::size_t layer = 0; layer < config.granularities.size(); ++layer) {
      add_layer(config, layer, model.table);
      model.space.layers.push_back(choices_of(config, layer));
      // The state of the scan, and the convolution's last conv_kernel - 1 inputs.
      model.mixing.push_back(
          {.flops_per_width =
               kScan * static_cast<double>(kInnerPerWidth) * static_cast<double>(config.state_size),
           .state_per_width = kInnerPerWidth * (config.state_size + config.conv_kernel - 1),
           .state_per_sequence = 2 * config.group_state() * (config.conv_kernel - 1),
           .flow_per_token = config.hidden_size});
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
