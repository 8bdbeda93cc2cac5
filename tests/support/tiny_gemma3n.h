// Random tiny Gemma 3n checkpoints over the family's variants. Configs are written down here as
// released and converted ones are; the tensors are the table's own, whose names and shapes
// transformers judges when it loads them.
#pragma once

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "families/family.h"
#include "tests/support/tensors.h"

namespace mnm::test {

struct TinyGemma3n {
  std::string name;
  nlohmann::json config;

  // Tensors as the config's table has them. Scores are not scaled and small models are
  // ill-conditioned: heads' norms are near 0.5, so that softmax and clipping stay moderate.
  std::vector<TestTensor> tensors() const {
    std::vector<TestTensor> all;
    for (const TensorSpec& spec : family_of(config).describe(config, {}).table.tensors) {
      const auto id = static_cast<std::uint32_t>(all.size()) + 7000;
      const bool head_norm =
          spec.name.ends_with("q_norm.weight") || spec.name.ends_with("k_norm.weight");
      const bool scale = spec.norm_groups > 0 || spec.name.ends_with("correct_output_scale");
      const bool coefficients = spec.name.ends_with("_coefs.weight");
      float spread = scale ? 0.3f : (coefficients ? 0.2f : 0.3f), centre = scale ? 1 : 0;
      if (head_norm) spread = 0.1f, centre = 0.5f;
      all.push_back(random_tensor(spec.name, spec.shape, id, spread, Dtype::kF32, centre));
    }
    return all;
  }

  std::filesystem::path write(const std::filesystem::path& directory) const {
    write_checkpoint(directory, config, tensors());
    return directory;
  }
};

// Eight layers, of which the last three read the keys and values of layers 3 (sliding) and 4.
inline nlohmann::json tiny_gemma3n_text() {
  const std::string s = "sliding_attention", f = "full_attention";
  return {{"activation_sparsity_pattern", {0.5, 0.3, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0}},
          {"altup_active_idx", 0},
          {"altup_coef_clip", 120.0},
          {"altup_correct_scale", true},
          {"altup_num_inputs", 4},
          {"architectures", {"Gemma3nForCausalLM"}},
          {"final_logit_softcapping", 30.0},
          {"head_dim", 16},
          {"hidden_activation", "gelu_pytorch_tanh"},
          {"hidden_size", 32},
          {"hidden_size_per_layer_input", 8},
          {"intermediate_size", std::vector<int>(8, 96)},
          {"laurel_rank", 4},
          {"layer_types", {s, s, f, s, f, s, f, s}},
          {"matformer_granularities", {48, 64, 96}},
          {"max_position_embeddings", 64},
          {"mixnmatch_may_skip", {1, 2, 5, 7}},
          {"model_type", "gemma3n_text"},
          {"num_attention_heads", 4},
          {"num_hidden_layers", 8},
          {"num_key_value_heads", 2},
          {"num_kv_shared_layers", 3},
          {"rms_norm_eps", 1e-6},
          {"rope_parameters",
           {{f, {{"rope_type", "default"}, {"rope_theta", 1000000.0}}},
            {s, {{"rope_type", "default"}, {"rope_theta", 10000.0}}}}},
          {"sliding_window", 6},
          {"tie_word_embeddings", true},
          {"torch_dtype", "float32"},
          {"vocab_size", 60},
          {"vocab_size_per_layer_input", 50}};
}

// The same with other entries; null takes a key away.
inline TinyGemma3n tiny_gemma3n(std::string name, const nlohmann::json& more = {}) {
  nlohmann::json config = tiny_gemma3n_text();
  if (!more.is_null()) config.merge_patch(more);
  return {std::move(name), std::move(config)};
}

// What llama.cpp has in its code: 20 layers with keys and values of their own and `shared` after
// them, 256 inputs per layer, rank 64, and 95 % of the gates clipped in the first ten.
inline TinyGemma3n tiny_gemma3n_of_llama_cpp(std::string name, int shared = 3,
                                             const nlohmann::json& more = {}) {
  const std::size_t layers = 20 + static_cast<std::size_t>(shared);
  std::vector<double> sparsity(layers, 0.0);
  std::fill_n(sparsity.begin(), 10, 0.95);
  std::vector<std::string> types(layers, "sliding_attention");
  for (std::size_t layer = 4; layer < layers; layer += 5) types[layer] = "full_attention";
  std::vector<int> may_skip;
  for (int layer = 20; layer < 20 + shared; ++layer) may_skip.push_back(layer);
  TinyGemma3n tiny = tiny_gemma3n(std::move(name), {{"activation_sparsity_pattern", sparsity},
                                                    {"hidden_size", 64},
                                                    {"hidden_size_per_layer_input", 256},
                                                    {"intermediate_size", 512},
                                                    {"laurel_rank", 64},
                                                    {"layer_types", types},
                                                    {"matformer_granularities", {128, 256, 512}},
                                                    {"mixnmatch_may_skip", may_skip},
                                                    {"num_hidden_layers", layers},
                                                    {"num_kv_shared_layers", shared}});
  if (!more.is_null()) tiny.config.merge_patch(more);
  return tiny;
}

// As released: the text model beside towers, whose configs nothing here reads.
inline TinyGemma3n tiny_gemma3n_multimodal(std::string name) {
  nlohmann::json text = tiny_gemma3n_text();
  text.erase("architectures");
  return {std::move(name),
          {{"architectures", {"Gemma3nForConditionalGeneration"}},
           {"model_type", "gemma3n"},
           {"text_config", std::move(text)},
           {"tie_word_embeddings", true},
           {"torch_dtype", "float32"}}};
}

inline std::vector<TinyGemma3n> tiny_gemma3ns() {
  const std::string s = "sliding_attention", f = "full_attention";
  return {
      tiny_gemma3n("base"),
      tiny_gemma3n_multimodal("multimodal"),
      tiny_gemma3n("no_sharing", {{"num_kv_shared_layers", 0}}),
      tiny_gemma3n("one_type_shared", {{"layer_types", {f, s, f, s, s, f, f, f}},
                                       {"mixnmatch_may_skip", {1, 3, 5, 7}}}),
      tiny_gemma3n("all_full", {{"layer_types", std::vector<std::string>(8, f)}}),
      tiny_gemma3n("all_sliding", {{"layer_types", std::vector<std::string>(8, s)}}),
      tiny_gemma3n("no_sparsity", {{"activation_sparsity_pattern", std::vector<double>(8, 0.0)}}),
      tiny_gemma3n("sparse_late",
                   {{"activation_sparsity_pattern", {0.0, 0.0, 0.4, 0.0, 0.0, 0.5, 0.0, 0.25}}}),
      tiny_gemma3n("three_streams", {{"altup_num_inputs", 3}, {"altup_active_idx", 2}}),
      tiny_gemma3n("unscaled_correction", {{"altup_correct_scale", false}}),
      tiny_gemma3n("biases_and_head", {{"attention_bias", true}, {"tie_word_embeddings", false}}),
      tiny_gemma3n("one_kv_head", {{"num_key_value_heads", 1}}),
      tiny_gemma3n("old_rope", {{"rope_parameters", nullptr},
                                {"rope_theta", 5000.0},
                                {"rope_local_base_freq", 100.0},
                                {"rope_scaling", nullptr}}),
      // Each spelling says a part: the new one what turns, the old one by which angles.
      tiny_gemma3n("mixed_rope", {{"rope_parameters",
                                   {{f, {{"rope_type", "default"}, {"rope_theta", nullptr}}},
                                    {s, {{"rope_type", "default"}, {"rope_theta", nullptr}}}}},
                                  {"rope_theta", 7.0},
                                  {"rope_local_base_freq", 3.0}}),
      tiny_gemma3n("half_mixed_rope", {{"rope_parameters", {{s, nullptr}}},
                                       {"rope_theta", 7.0},
                                       {"rope_local_base_freq", 3.0}}),
      tiny_gemma3n("layers_differ", {{"intermediate_size", {96, 64, 96, 48, 80, 96, 64, 96}},
                                     {"matformer_granularities", nullptr}}),
      tiny_gemma3n("bare_consumers", {{"mixnmatch_unused_kv", false}}),
      tiny_gemma3n("wide_window", {{"sliding_window", 64}}),
      tiny_gemma3n("soft", {{"final_logit_softcapping", 2.0}, {"rms_norm_eps", 1e-3}}),
  };
}

}  // namespace mnm::test
