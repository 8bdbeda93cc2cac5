// Random tiny checkpoints of the architectures that are Llama's but for a few facts, over their
// variants. Configs are written down here as published ones are; the tensors are the table's own,
// whose names and shapes transformers judges when it loads them.
#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "families/family.h"
#include "tests/support/tensors.h"

namespace mnm::test {

struct TinyArchitecture {
  std::string name;
  nlohmann::json config;

  // Products have a spread that keeps activations near 1, norms multiply by numbers around 1.
  std::vector<TestTensor> tensors() const {
    std::vector<TestTensor> all;
    const NestedModel model = family_of(config).describe(config, {});
    const float centre = config["model_type"].get<std::string>().starts_with("gemma") ? 0 : 1;
    for (const TensorSpec& spec : model.table.tensors) {
      const auto id = static_cast<std::uint32_t>(all.size()) + 1000;
      const bool norm = spec.norm_groups > 0, bias = spec.name.ends_with(".bias");
      all.push_back(random_tensor(spec.name, spec.shape, id, norm ? 0.3f : (bias ? 0.2f : 0.4f),
                                  Dtype::kF32, norm ? centre : 0));
    }
    return all;
  }

  std::filesystem::path write(const std::filesystem::path& directory) const {
    write_checkpoint(directory, config, tensors());
    return directory;
  }
};

// A config with the keys that all have, as published ones do, and more.
inline TinyArchitecture tiny_architecture(std::string name, const std::string& stem,
                                          const std::string& type, const nlohmann::json& more) {
  nlohmann::json config = {{"architectures", {stem + "ForCausalLM"}},
                           {"bos_token_id", 1},
                           {"eos_token_id", 2},
                           {"hidden_act", "silu"},
                           {"hidden_size", 16},
                           {"intermediate_size", 32},
                           {"matformer_granularities", {8, 16, 32}},
                           {"max_position_embeddings", 64},
                           {"model_type", type},
                           {"num_attention_heads", 4},
                           {"num_hidden_layers", 4},
                           {"num_key_value_heads", 2},
                           {"pad_token_id", 0},
                           {"rms_norm_eps", 1e-5},
                           {"rope_theta", 500.0},
                           {"tie_word_embeddings", false},
                           {"torch_dtype", "float32"},
                           {"vocab_size", 50}};
  if (!more.is_null()) config.update(more);
  return {std::move(name), std::move(config)};
}

inline std::vector<TinyArchitecture> tiny_architectures() {
  const nlohmann::json linear = {{"type", "linear"}, {"factor", 4.0}};
  const nlohmann::json yarn = {
      {"type", "yarn"}, {"factor", 4.0}, {"original_max_position_embeddings", 16}};
  const nlohmann::json dynamic = {{"type", "dynamic"}, {"factor", 4.0}};
  // Of Phi-3's, which was trained with that length and turns half of each head.
  const auto longrope = [](std::int64_t original) -> nlohmann::json {
    return {{"num_attention_heads", 2},
            {"num_key_value_heads", 1},
            {"original_max_position_embeddings", original},
            {"partial_rotary_factor", 0.5},
            {"rope_scaling",
             {{"type", "longrope"}, {"short_factor", {1.0, 1.25}}, {"long_factor", {1.0, 2.5}}}}};
  };
  const nlohmann::json granite = {{"attention_multiplier", 0.0625},
                                  {"embedding_multiplier", 12.0},
                                  {"logits_scaling", 6.0},
                                  {"residual_multiplier", 0.22},
                                  {"tie_word_embeddings", true}};
  nlohmann::json biased = granite;
  biased["attention_bias"] = biased["mlp_bias"] = true;
  // Caps that are near the scores and logits, so that they change them.
  const auto gemma2 = [](const nlohmann::json& window) -> nlohmann::json {
    return {{"attn_logit_softcapping", 2.0},
            {"final_logit_softcapping", 3.0},
            {"head_dim", 16},
            {"hidden_activation", "gelu_pytorch_tanh"},
            {"query_pre_attn_scalar", 16},
            {"sliding_window", window},
            {"tie_word_embeddings", true}};
  };
  nlohmann::json uncapped = gemma2(5);
  uncapped["attn_logit_softcapping"] = uncapped["final_logit_softcapping"] = nullptr;
  uncapped["query_pre_attn_scalar"] = 9;
  uncapped["layer_types"] = {"full_attention", "sliding_attention", "sliding_attention",
                             "full_attention"};
  // With both kinds of layers, whose RoPEs differ, as configs have said so before transformers 5.
  const auto gemma3 = [](const nlohmann::json& more) -> nlohmann::json {
    nlohmann::json config = {{"final_logit_softcapping", nullptr},
                             {"head_dim", 16},
                             {"hidden_activation", "gelu_pytorch_tanh"},
                             {"query_pre_attn_scalar", 16},
                             {"rope_local_base_freq", 20},
                             {"sliding_window", 5},
                             {"tie_word_embeddings", true}};
    config.update(more);
    return config;
  };
  // The same as it has them.
  const auto kinds = [](nlohmann::json full, double local) -> nlohmann::json {
    full["rope_theta"] = 500.0;
    return {{"full_attention", full},
            {"sliding_attention", {{"rope_type", "default"}, {"rope_theta", local}}}};
  };
  const nlohmann::json linear_type = {{"rope_type", "linear"}, {"factor", 4.0}};
  nlohmann::json yarn_mscale = yarn;  // as DeepSeek's and gpt-oss have it
  yarn_mscale.update({{"mscale", 1.0}, {"mscale_all_dim", 0.5}, {"truncate", false}});
  nlohmann::json yarn_type = yarn;
  yarn_type.erase("type");
  yarn_type["rope_type"] = "yarn";
  const nlohmann::json llama3 = {{"rope_type", "llama3"},
                                 {"factor", 4.0},
                                 {"low_freq_factor", 1.0},
                                 {"high_freq_factor", 4.0},
                                 {"original_max_position_embeddings", 16}};
  const nlohmann::json some_local = {"full_attention", "sliding_attention", "sliding_attention",
                                     "full_attention"};
  const auto all = tiny_architecture;
  return {
      all("llama_linear", "Llama", "llama", {{"rope_scaling", linear}}),
      all("llama_linear_1", "Llama", "llama",
          {{"rope_scaling", {{"type", "linear"}, {"factor", 1.0}}}}),
      all("llama_dynamic", "Llama", "llama",
          {{"head_dim", 16}, {"max_position_embeddings", 16}, {"rope_scaling", dynamic}}),
      all("llama_dynamic_within", "Llama", "llama", {{"rope_scaling", dynamic}}),
      all("llama_longrope", "Llama", "llama",
          {{"rope_scaling",
            {{"rope_type", "longrope"},
             {"short_factor", {1.0, 1.5}},
             {"long_factor", {1.0, 3.0}},
             {"factor", 4.0},
             {"attention_factor", 1.125},
             {"original_max_position_embeddings", 16}}}}),
      all("llama_yarn", "Llama", "llama", {{"head_dim", 16}, {"rope_scaling", yarn}}),
      all("llama_yarn_mscale", "Llama", "llama", {{"head_dim", 16}, {"rope_scaling", yarn_mscale}}),
      all("mistral", "Mistral", "mistral", {{"sliding_window", nullptr}, {"head_dim", 6}}),
      all("mistral_window", "Mistral", "mistral", {{"sliding_window", 7}, {"head_dim", 16}}),
      all("ministral", "Ministral", "ministral",
          {{"sliding_window", 7},
           {"head_dim", 4},
           {"layer_types",
            {"full_attention", "sliding_attention", "sliding_attention", "full_attention"}}}),
      all("ministral_all", "Ministral", "ministral", {{"sliding_window", 5}, {"head_dim", 6}}),
      all("cwm", "Cwm", "cwm", {{"head_dim", 4}, {"rope_scaling", llama3}, {"sliding_window", 5}}),
      all("cwm_types", "Cwm", "cwm",
          {{"head_dim", 16},
           {"layer_types", some_local},
           {"mlp_bias", true},
           {"rope_scaling", llama3},
           {"sliding_window", 7}}),
      all("qwen2", "Qwen2", "qwen2",
          {{"max_window_layers", 2}, {"sliding_window", 7}, {"use_sliding_window", false}}),
      all("qwen2_window", "Qwen2", "qwen2",
          {{"max_window_layers", 2}, {"sliding_window", 5}, {"use_sliding_window", true}}),
      all("qwen2_yarn_tied", "Qwen2", "qwen2",
          {{"tie_word_embeddings", true}, {"rope_scaling", yarn}}),
      all("qwen3", "Qwen3", "qwen3", {{"head_dim", 16}, {"sliding_window", nullptr}}),
      all("qwen3_bias", "Qwen3", "qwen3", {{"head_dim", 6}, {"attention_bias", true}}),
      all("phi3", "Phi3", "phi3", {{"sliding_window", 7}, {"pad_token_id", 0}}),
      all("phi3_long", "Phi3", "phi3", longrope(16)),
      all("phi3_short", "Phi3", "phi3", longrope(32)),
      all("phi3_partial", "Phi3", "phi3",
          {{"num_attention_heads", 2},
           {"num_key_value_heads", 1},
           {"partial_rotary_factor", 0.75}}),
      all("granite", "Granite", "granite", granite),
      all("granite_bias", "Granite", "granite", biased),
      all("smollm3", "SmolLM3", "smollm3", {{"no_rope_layer_interval", 4}}),
      all("smollm3_window", "SmolLM3", "smollm3",
          {{"no_rope_layers", {1, 0, 1, 0}}, {"sliding_window", 6}, {"use_sliding_window", true}}),
      all("olmo2", "Olmo2", "olmo2", {}),
      all("olmo3", "Olmo3", "olmo3",
          {{"sliding_window", 5}, {"rope_theta", 500000.0}, {"rope_scaling", yarn_type}}),
      all("olmo3_kinds", "Olmo3", "olmo3",
          {{"sliding_window", 4096},
           {"layer_types", some_local},
           {"rope_parameters", kinds(yarn_type, 30)}}),
      all("exaone4", "Exaone4", "exaone4",
          {{"sliding_window", 5}, {"sliding_window_pattern", 3}, {"head_dim", 4}}),
      all("exaone4_full", "Exaone4", "exaone4",
          {{"sliding_window", nullptr},
           {"head_dim", 4},
           {"layer_types", nlohmann::json::array({"full_attention", "full_attention",
                                                  "full_attention", "full_attention"})},
           {"rope_scaling", llama3},
           {"tie_word_embeddings", true}}),
      all("seed_oss", "SeedOss", "seed_oss", {{"head_dim", 6}}),
      all("seed_oss_bias", "SeedOss", "seed_oss",
          {{"head_dim", 16},
           {"attention_bias", false},
           {"attention_out_bias", true},
           {"mlp_bias", true}}),
      all("glm", "Glm", "glm", {{"head_dim", 4}}),
      all("glm_part", "Glm", "glm",
          {{"head_dim", 16}, {"attention_bias", false}, {"partial_rotary_factor", 0.75}}),
      all("glm4", "Glm4", "glm4", {{"head_dim", 16}, {"partial_rotary_factor", 0.5}}),
      all("ernie", "Ernie4_5", "ernie4_5", {{"head_dim", 6}}),
      all("ernie_bias", "Ernie4_5", "ernie4_5", {{"head_dim", 16}, {"use_bias", true}}),
      all("helium", "Helium", "helium", {{"head_dim", 4}, {"attention_bias", true}}),
      all("internlm3", "InternLM3", "internlm3",
          {{"head_dim", 4}, {"bias", false}, {"qkv_bias", false}, {"rope_scaling", dynamic}}),
      all("internlm3_bias", "InternLM3", "internlm3",
          {{"head_dim", 16}, {"bias", true}, {"qkv_bias", true}}),
      all("gemma", "Gemma", "gemma",
          {{"head_dim", 16}, {"hidden_act", "gelu"}, {"tie_word_embeddings", true}}),
      all("gemma2", "Gemma2", "gemma2", gemma2(7)),
      all("gemma2_full", "Gemma2", "gemma2", gemma2(4096)),
      all("gemma2_uncapped", "Gemma2", "gemma2", uncapped),
      all("gemma3", "Gemma3", "gemma3_text", gemma3({{"rope_scaling", linear_type}})),
      all("gemma3_pattern", "Gemma3", "gemma3_text",
          gemma3({{"sliding_window_pattern", 2},
                  {"rope_scaling", linear_type},
                  {"final_logit_softcapping", 3.0},
                  {"attention_bias", true}})),
      all("gemma3_kinds", "Gemma3", "gemma3_text",
          gemma3({{"sliding_window", 4096},
                  {"layer_types", some_local},
                  {"query_pre_attn_scalar", 9},
                  {"rope_local_base_freq", nullptr},
                  {"rope_parameters", kinds(linear_type, 20)}})),
  };
}

}  // namespace mnm::test
