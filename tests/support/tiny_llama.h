// Random tiny Llama checkpoints, in every variant that the family knows. Names and shapes are
// written down here from Hugging Face's layout, not taken from the tensor table they are to judge.
#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "model/dtype.h"
#include "tests/support/tensors.h"

namespace mnm::test {

enum class RopeSpelling { kNew, kOld, kBoth };  // rope_parameters; rope_theta and rope_scaling

struct TinyLlama {
  std::string name = "plain";  // of the variant, for messages
  std::uint32_t seed = 1;
  int layers = 3;
  std::int64_t hidden = 16, heads = 4, kv_heads = 4;
  std::optional<std::int64_t> head_dim;  // else hidden / heads
  std::int64_t full = 32;
  std::vector<int> granularities = {4, 8, 16, 32};  // empty: config.json states none
  std::int64_t vocab = 50, positions = 64;
  bool tied = false, attention_bias = false, mlp_bias = false;
  std::string hidden_act = "silu";
  bool act_of_product = false;
  bool compensated = false;  // with means, and with zeros for biases that mlp_bias does not give
  double rope_theta = 10000;
  bool llama3 = false;  // factor 4, 1 to 4, 16 original positions
  RopeSpelling spelling = RopeSpelling::kBoth;
  Dtype dtype = Dtype::kF32;
  std::size_t shards = 1;
  float spread = 0.4f;  // weights of matrices are uniform within it, about 0

  std::int64_t head_size() const { return head_dim.value_or(hidden / heads); }

  nlohmann::json config() const {
    nlohmann::json json = {{"architectures", {"LlamaForCausalLM"}},
                           {"attention_bias", attention_bias},
                           {"bos_token_id", 1},
                           {"eos_token_id", 2},
                           {"hidden_act", hidden_act},
                           {"hidden_size", hidden},
                           {"intermediate_size", full},
                           {"max_position_embeddings", positions},
                           {"mlp_bias", mlp_bias},
                           {"model_type", "llama"},
                           {"num_attention_heads", heads},
                           {"num_hidden_layers", layers},
                           {"num_key_value_heads", kv_heads},
                           {"rms_norm_eps", 1e-5},
                           {"tie_word_embeddings", tied},
                           {"vocab_size", vocab}};
    if (head_dim) json["head_dim"] = *head_dim;
    if (!granularities.empty()) json["matformer_granularities"] = granularities;
    if (act_of_product) json["matformer_gate"] = "act(gate*up)";
    if (compensated) json["mixnmatch_compensated"] = true;
    nlohmann::json scaling = {{"rope_type", "default"}};
    if (llama3) {
      scaling = {{"rope_type", "llama3"},
                 {"factor", 4.0},
                 {"low_freq_factor", 1.0},
                 {"high_freq_factor", 4.0},
                 {"original_max_position_embeddings", 16}};
    }
    if (spelling != RopeSpelling::kNew) {
      json["torch_dtype"] = torch_name(dtype);
      json["rope_theta"] = rope_theta;
      json["rope_scaling"] = llama3 ? scaling : nlohmann::json(nullptr);
    }
    if (spelling != RopeSpelling::kOld) {
      json["dtype"] = torch_name(dtype);
      json["rope_parameters"] = scaling;
      json["rope_parameters"]["rope_theta"] = rope_theta;
    }
    return json;
  }

  // Products have a spread that keeps activations near 1, norms lie around 1.
  std::vector<TestTensor> tensors() const {
    std::vector<TestTensor> all;
    const auto add = [&](std::string tensor, std::vector<std::int64_t> shape, float scale,
                         float centre) {
      const auto id = static_cast<std::uint32_t>(all.size());
      all.push_back(random_tensor(std::move(tensor), std::move(shape), seed * 1000 + id, scale,
                                  dtype, centre));
    };
    const auto linear = [&](const std::string& tensor, std::int64_t rows, std::int64_t columns,
                            bool bias) {
      add(tensor + ".weight", {rows, columns}, spread, 0);
      if (bias) add(tensor + ".bias", {rows}, 0.2f, 0);
    };
    const std::int64_t q = heads * head_size(), kv = kv_heads * head_size();
    linear("model.embed_tokens", vocab, hidden, false);
    for (int i = 0; i < layers; ++i) {
      const std::string layer = "model.layers." + std::to_string(i) + ".";
      add(layer + "input_layernorm.weight", {hidden}, 0.3f, 1);
      linear(layer + "self_attn.q_proj", q, hidden, attention_bias);
      linear(layer + "self_attn.k_proj", kv, hidden, attention_bias);
      linear(layer + "self_attn.v_proj", kv, hidden, attention_bias);
      linear(layer + "self_attn.o_proj", hidden, q, attention_bias);
      add(layer + "post_attention_layernorm.weight", {hidden}, 0.3f, 1);
      linear(layer + "mlp.gate_proj", full, hidden, mlp_bias);
      linear(layer + "mlp.up_proj", full, hidden, mlp_bias);
      linear(layer + "mlp.down_proj", hidden, full, mlp_bias);
      if (!compensated) continue;
      for (const char* projection : {"gate_proj", "up_proj"}) {
        if (!mlp_bias) add(layer + "mlp." + projection + ".bias", {full}, 0, 0);
      }
      if (!mlp_bias) add(layer + "mlp.down_proj.bias", {hidden}, 0, 0);
      add(layer + "mlp.down_proj.input_mean", {full}, 0.5f, 0.2f);
    }
    add("model.norm.weight", {hidden}, 0.3f, 1);
    if (!tied) linear("lm_head", vocab, hidden, false);
    return all;
  }

  // The submodel's tensors, cut one element at a time.
  std::vector<TestTensor> tensors_at(const std::vector<int>& widths) const {
    std::vector<TestTensor> all = tensors();
    for (std::size_t layer = 0; layer < widths.size(); ++layer) {
      const std::string mlp = "model.layers." + std::to_string(layer) + ".mlp.";
      for (TestTensor& t : all) {
        if (!t.name.starts_with(mlp) || t.name == mlp + "down_proj.bias") continue;
        const std::size_t cut = t.name == mlp + "down_proj.weight" ? 1 : 0;
        const std::int64_t columns = t.shape.size() > 1 ? t.shape[1] : 1;
        std::vector<float> kept;
        for (std::size_t i = 0; i < t.values.size(); ++i) {
          const auto at = static_cast<std::int64_t>(i);
          if ((cut == 1 ? at % columns : at / columns) < widths[layer]) kept.push_back(t.values[i]);
        }
        t.values = std::move(kept);
        t.shape[cut] = widths[layer];
      }
    }
    return all;
  }

  // The checkpoint as a directory; returns it.
  std::filesystem::path write(const std::filesystem::path& directory) const {
    write_checkpoint(directory, config(), tensors(), shards);
    return directory;
  }
};

// Every variant by itself, and together.
inline std::vector<TinyLlama> tiny_llamas() {
  std::vector<TinyLlama> all;
  const auto add = [&](std::string name) -> TinyLlama& {
    TinyLlama& llama = all.emplace_back();
    llama.name = std::move(name);
    llama.seed = static_cast<std::uint32_t>(all.size());
    return llama;
  };
  add("plain");
  add("tied").tied = true;
  add("gqa").kv_heads = 2;
  add("mqa").kv_heads = 1;
  add("head_dim").head_dim = 10;
  add("attention_bias").attention_bias = true;
  add("mlp_bias").mlp_bias = true;
  add("gelu").hidden_act = "gelu";
  add("gelu_tanh").hidden_act = "gelu_pytorch_tanh";
  add("relu").hidden_act = "relu";
  add("act_of_product").act_of_product = true;
  add("rope_theta_old").spelling = RopeSpelling::kOld;
  all.back().rope_theta = 500;
  add("rope_theta_new").spelling = RopeSpelling::kNew;
  all.back().rope_theta = 500;
  add("llama3_old").spelling = RopeSpelling::kOld;
  all.back().llama3 = true;
  add("llama3_new").spelling = RopeSpelling::kNew;
  all.back().llama3 = true;
  add("bf16").dtype = Dtype::kBF16;
  add("f16").dtype = Dtype::kF16;
  add("sharded").shards = 3;
  add("one_layer").layers = 1;
  add("one_granularity").granularities = {};
  TinyLlama& most = add("everything");
  most.tied = most.attention_bias = most.mlp_bias = most.llama3 = most.act_of_product = true;
  most.kv_heads = 2;
  most.head_dim = 6;
  most.hidden_act = "gelu";
  most.rope_theta = 500;
  most.dtype = Dtype::kBF16;
  most.shards = 4;
  return all;
}

}  // namespace mnm::test
