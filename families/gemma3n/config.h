// The config.json of a Gemma 3n, resolved and checked: the text model alone (model_type
// gemma3n_text), or the one that also hears and sees (gemma3n), whose text model is its
// `text_config`. Keys and defaults are those of transformers' Gemma3nTextConfig. RoPE is read in
// both spellings: rope_parameters by layer type, and rope_theta with rope_local_base_freq for what
// that does not say. Ours, in the same object:
//   matformer_granularities  [8192, 16384], or one such list per layer. Without it, a layer whose
//                            FFN is 8 times hidden_size was trained at half of that too, as the
//                            released E4B was
//   mixnmatch_may_skip       the layers that may be left out (families/may_skip.h). Without it,
//                            layers 20 to 24 of a model of the released E4B's layers
//   mixnmatch_unused_kv      false: layers that read the keys and values of others hold no k_proj,
//                            v_proj and k_norm of their own. Released files hold them
//   mixnmatch_sample_deviation  true: gates are clipped by their deviation as of a sample, divided
//                            by one less than their number, as llama.cpp does. No checkpoint says
//                            it; a GGUF file is read so
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "families/nesting.h"
#include "model/dtype.h"
#include "model/widths.h"

namespace mnm {

inline constexpr const char* kGemma3nModelType = "gemma3n";
inline constexpr const char* kGemma3nTextModelType = "gemma3n_text";
inline constexpr const char* kGemma3nClass = "Gemma3nForConditionalGeneration";
inline constexpr const char* kGemma3nTextClass = "Gemma3nForCausalLM";
inline constexpr const char* kUnusedKvKey = "mixnmatch_unused_kv";
inline constexpr const char* kSampleDeviationKey = "mixnmatch_sample_deviation";

struct Gemma3nConfig {
  bool multimodal = false;
  std::int64_t layers = 0;         // L
  std::int64_t hidden_size = 0;    // d
  std::int64_t heads = 0;          // H
  std::int64_t kv_heads = 0;       // K
  std::int64_t head_dim = 0;       // D, even
  std::int64_t vocab_size = 0;     // V
  std::int64_t layer_vocab = 0;    // rows of the per-layer table; other tokens take its row 0
  std::int64_t layer_inputs = 0;   // P: elements that each layer reads of a token
  std::int64_t streams = 0;        // A
  std::int64_t active_stream = 0;  // a
  std::int64_t laurel_rank = 0;    // R
  std::int64_t max_position_embeddings = 0;
  std::int64_t window = 0;  // of sliding layers: positions, the token's own included
  double rms_norm_eps = 1e-6;
  double initializer_range = 0.02;
  double soft_cap = 30;  // logits are cap * tanh(x / cap)
  // Training clamps the coefficients of the streams to [-coef_clip, coef_clip].
  double coef_clip = 120;
  double full_theta = 1e6, sliding_theta = 1e4;
  bool attention_bias = false;
  bool tied = true;
  bool correct_scale = true;      // altup_correct_scale
  bool unused_kv = true;          // whether consumers hold k_proj, v_proj and k_norm
  bool sample_deviation = false;  // gates' squared deviations are divided by their number less 1
  Dtype dtype = Dtype::kF32;
  std::vector<bool> sliding;     // [layers]
  std::vector<double> sparsity;  // [layers]: share of the gates that are clipped; 0: none
  // [layers]: the layer whose keys and values it reads, itself if it has its own.
  std::vector<std::int64_t> source;
  std::vector<std::vector<Width>> granularities;  // [layers], ascending, to the full width

  std::int64_t q_size() const { return heads * head_dim; }
  std::int64_t kv_size() const { return kv_heads * head_dim; }
  std::int64_t own_layers() const;  // that have keys and values of their own; they come first
  Width full_width(std::size_t layer) const { return granularities[layer].back(); }
  bool has_own_kv(std::size_t layer) const {
    return source[layer] == static_cast<std::int64_t>(layer);
  }
  // Whether later layers read this layer's keys and values.
  bool is_producer(std::size_t layer) const;
  // "model.language_model." or "model.": what the names of tensors begin with.
  std::string prefix() const { return multimodal ? "model.language_model." : "model."; }
};

// The object with the text model's keys.
const nlohmann::json& gemma3n_text_keys(const nlohmann::json& config);

// Error names a key that is absent, of another type, out of range, or that asks for what is not
// computed here. UsageError if the user's granularities are wrong.
Gemma3nConfig parse_gemma3n_config(const nlohmann::json& config, const Nesting& nesting);

// Which layers may be left out if neither the user nor the config says it: "20-24" or "".
std::string usual_skips(const Gemma3nConfig& config);

// Family::with_layers.
nlohmann::json gemma3n_config_with_layers(const nlohmann::json& config, std::int64_t layers);

}  // namespace mnm
