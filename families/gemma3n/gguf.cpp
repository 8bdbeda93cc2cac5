// Sources: llama.cpp's src/llama-model.cpp, src/models/gemma3n-iswa.cpp and
// gguf-py/gguf/tensor_mapping.py, as llama-cpp-python 0.3.36 has them.
#include "families/gemma3n/gguf.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <utility>
#include <vector>

#include "base/error.h"
#include "families/gemma3n/config.h"

namespace mnm {
namespace {

// In llama.cpp's code, whatever a file says.
constexpr std::int64_t kOwnLayers = 20, kSparseLayers = 10, kStreams = 4, kInputs = 256,
                       kLaurelRank = 64;
constexpr double kSparsity = 0.95, kSoftCap = 30;

// Behind "layers.N.".
const std::map<std::string, std::string>& names_in_layer() {
  static const std::map<std::string, std::string> names = {
      {"input_layernorm.weight", "attn_norm.weight"},
      {"self_attn.q_proj.weight", "attn_q.weight"},
      {"self_attn.k_proj.weight", "attn_k.weight"},
      {"self_attn.v_proj.weight", "attn_v.weight"},
      {"self_attn.o_proj.weight", "attn_output.weight"},
      {"self_attn.q_norm.weight", "attn_q_norm.weight"},
      {"self_attn.k_norm.weight", "attn_k_norm.weight"},
      {"post_attention_layernorm.weight", "post_attention_norm.weight"},
      {"pre_feedforward_layernorm.weight", "ffn_norm.weight"},
      {"mlp.gate_proj.weight", "ffn_gate.weight"},
      {"mlp.up_proj.weight", "ffn_up.weight"},
      {"mlp.down_proj.weight", "ffn_down.weight"},
      {"post_feedforward_layernorm.weight", "post_ffw_norm.weight"},
      {"altup.modality_router.weight", "altup_router.weight"},
      {"altup.router_norm.weight", "altup_router_norm.weight"},
      {"altup.prediction_coefs.weight", "altup_predict_coef.weight"},
      {"altup.correction_coefs.weight", "altup_correct_coef.weight"},
      {"altup.correct_output_scale", "altup_correct_scale.weight"},
      {"laurel.linear_left.weight", "laurel_l.weight"},
      {"laurel.linear_right.weight", "laurel_r.weight"},
      {"laurel.post_laurel_norm.weight", "laurel_post_norm.weight"},
      {"per_layer_input_gate.weight", "inp_gate.weight"},
      {"per_layer_projection.weight", "proj.weight"},
      {"post_per_layer_input_norm.weight", "post_norm.weight"},
  };
  return names;
}

const std::map<std::string, std::string>& names_outside() {
  static const std::map<std::string, std::string> names = {
      {"embed_tokens.weight", "token_embd.weight"},
      {"embed_tokens_per_layer.weight", "per_layer_token_embd.weight"},
      {"per_layer_model_projection.weight", "per_layer_model_proj.weight"},
      {"per_layer_projection_norm.weight", "per_layer_proj_norm.weight"},
      {"norm.weight", "output_norm.weight"},
  };
  return names;
}

GgufTensor named(std::string name, const std::string& source) {
  GgufTensor tensor;
  tensor.name = std::move(name);
  tensor.source = source;
  return tensor;
}

// All projections of one kind as one tensor of three dimensions.
GgufTensor stacked(const Gemma3nConfig& config, const std::string& kind, const std::string& name) {
  const auto source = [&](std::int64_t k) {
    return fmt::format("{}{}.{}.weight", config.prefix(), kind, k);
  };
  GgufTensor tensor = named(name, source(0));
  for (std::int64_t k = 1; k + 1 < config.streams; ++k) tensor.stacked.push_back(source(k));
  tensor.shape = {config.streams - 1, config.hidden_size, config.hidden_size};
  return tensor;
}

GgufTensor zeros(std::string name, std::vector<std::int64_t> shape) {
  GgufTensor tensor;
  tensor.name = std::move(name);
  std::int64_t elements = 1;
  for (const std::int64_t size : shape) elements *= size;
  tensor.values.resize(static_cast<std::size_t>(elements));
  tensor.shape = std::move(shape);
  return tensor;
}

void add_tensors(const Gemma3nConfig& config, const TensorTable& table, GgufModel& gguf) {
  gguf.tensors.push_back(stacked(config, "altup_projections", "altup_proj.weight"));
  gguf.tensors.push_back(stacked(config, "altup_unembed_projections", "altup_unembd_proj.weight"));
  const std::string prefix = config.prefix();
  for (const TensorSpec& spec : table.tensors) {
    if (spec.layer >= 0) {
      const std::string base = fmt::format("{}layers.{}.", prefix, spec.layer);
      const std::string& name = names_in_layer().at(spec.name.substr(base.size()));
      GgufTensor& tensor =
          gguf.tensors.emplace_back(named(fmt::format("blk.{}.{}", spec.layer, name), spec.name));
      // Of as few columns as there are streams, which no block of q8_0 fits.
      tensor.f32 = name.starts_with("altup_") && name.ends_with("_coef.weight");
      continue;
    }
    const std::string own = spec.name.starts_with(prefix) ? spec.name.substr(prefix.size()) : "";
    if (own.starts_with("altup_")) continue;
    GgufTensor& tensor = gguf.tensors.emplace_back(
        named(own.empty() ? "output.weight" : names_outside().at(own), spec.name));
    if (own != "embed_tokens_per_layer.weight") continue;
    // It is looked up by all words; those past the table take its row 0.
    tensor.first_row_copies = config.vocab_size - config.layer_vocab;
    tensor.shape = {config.vocab_size, config.layers * config.layer_inputs};
  }
  for (std::int64_t layer = config.own_layers(); layer < config.layers && !config.unused_kv;
       ++layer) {
    const auto name = [layer](const char* what) { return fmt::format("blk.{}.{}", layer, what); };
    gguf.tensors.push_back(zeros(name("attn_k.weight"), {config.kv_size(), config.hidden_size}));
    gguf.tensors.push_back(zeros(name("attn_v.weight"), {config.kv_size(), config.hidden_size}));
    gguf.tensors.push_back(zeros(name("attn_k_norm.weight"), {config.head_dim}));
  }
}

std::uint32_t number(std::int64_t value) { return static_cast<std::uint32_t>(value); }

}  // namespace

std::string gemma3n_gguf_refusal(const NestedModel& submodel) {
  const Gemma3nConfig config = parse_gemma3n_config(submodel.config, {});
  const std::int64_t own = config.own_layers();
  if (!is_uniform(submodel.space.full())) {
    return "its gemma3n creates the FFN of every layer with the first one's width";
  }
  if (config.streams != kStreams || config.active_stream != 0 || config.layer_inputs != kInputs ||
      config.laurel_rank != kLaurelRank || config.soft_cap != kSoftCap || !config.correct_scale) {
    return "its gemma3n computes 4 streams of which the first is active, 256 inputs per layer, "
           "rank 64 and a soft cap of 30, whatever the file says";
  }
  if (own != kOwnLayers && !(own == config.layers && own < kOwnLayers)) {
    return fmt::format(
        "its gemma3n has exactly 20 layers with keys and values of their own, and here are {}; "
        "skip layers from 20 on alone",
        own);
  }
  for (std::int64_t layer = 0; layer < config.layers; ++layer) {
    const auto index = static_cast<std::size_t>(layer);
    if (config.sparsity[index] != (layer < kSparseLayers ? kSparsity : 0)) {
      return "its gemma3n clips 95 % of the gates in the first 10 layers, and none elsewhere";
    }
    if (config.sparsity[index] > 0 && config.full_width(index) == 1) {
      return "its gemma3n clips gates by their deviation as of a sample, and a single gate has "
             "none (0 divided by 0)";
    }
    const std::int64_t source = config.sliding[index] ? kOwnLayers - 2 : kOwnLayers - 1;
    if (!config.has_own_kv(index) && config.source[index] != source) {
      return "its gemma3n reads the keys and values of layer 18 in sliding layers, and of layer 19 "
             "in the others";
    }
  }
  if (config.attention_bias) return "its gemma3n has no biases of attention";
  if (config.layer_vocab > config.vocab_size) return "its per-layer table has a row for each word";
  return "";
}

GgufModel gemma3n_gguf(const NestedModel& submodel) {
  if (const std::string why = gemma3n_gguf_refusal(submodel); !why.empty()) {
    fail("gguf cannot hold this submodel: llama.cpp cannot compute it: {}", why);
  }
  const Gemma3nConfig config = parse_gemma3n_config(submodel.config, {});
  GgufModel gguf;
  gguf.architecture = "gemma3n";
  const auto add = [&gguf](const char* key, GgufValue value) {
    gguf.fields.emplace_back(fmt::format("gemma3n.{}", key), std::move(value));
  };
  add("context_length", number(config.max_position_embeddings));
  add("embedding_length", number(config.hidden_size));
  add("vocab_size", number(config.vocab_size));
  add("block_count", number(config.layers));
  add("feed_forward_length", number(config.full_width(0)));
  add("attention.head_count", number(config.heads));
  add("attention.head_count_kv", number(config.kv_heads));
  add("attention.key_length", number(config.head_dim));
  add("attention.value_length", number(config.head_dim));
  add("attention.layer_norm_rms_epsilon", static_cast<float>(config.rms_norm_eps));
  add("attention.sliding_window", number(config.window));
  add("attention.sliding_window_pattern",
      std::vector<std::int32_t>(config.sliding.begin(), config.sliding.end()));
  add("attention.shared_kv_layers", number(config.layers - config.own_layers()));
  add("rope.freq_base", static_cast<float>(config.full_theta));
  add("rope.freq_base_swa", static_cast<float>(config.sliding_theta));
  add("altup.active_idx", number(config.active_stream));
  add("altup.num_inputs", number(config.streams));
  add("embedding_length_per_layer_input", number(config.layer_inputs));
  add("final_logit_softcapping", static_cast<float>(config.soft_cap));
  // z of a normal distribution for 0.95, as llama.cpp's converter writes it.
  constexpr float kQuantile = 1.64485335f;
  std::vector<float> scales;
  for (const double share : config.sparsity) scales.push_back(share > 0 ? kQuantile : 0.0f);
  add("activation_sparsity_scale", std::move(scales));
  add_tensors(config, submodel.table, gguf);
  gguf.half_gelu = true;
  const bool clips = std::ranges::any_of(config.sparsity, [](double share) { return share > 0; });
  if (clips) {
    const nlohmann::json keys = {{kSampleDeviationKey, true}};
    gguf.in_llama_cpp = {.config = config.multimodal ? nlohmann::json{{"text_config", keys}} : keys,
                         .says = "the spread of gates as of a sample, as llama.cpp takes it"};
  }
  return gguf;
}

}  // namespace mnm
