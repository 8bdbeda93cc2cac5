// The config.json of a Llama-shaped decoder, resolved and checked. Defaults are filled in, both
// spellings of RoPE are read, and every layer has its widths. The keys are those that the
// architecture has in transformers (architectures.h says which are read), and our own for
// nested models:
//   matformer_granularities  [64, 128, 256, 512], or one such list per layer
//   matformer_gate           "act(gate)*up" (the default) or "act(gate*up)"
//   matformer_widths         the full FFN width of every layer if they differ, as in a submodel of
//                            mixed widths; the widest is intermediate_size
//   mixnmatch_compensated    true: widths make up for what they leave out (families/compensation.h)
//   mixnmatch_may_skip       the layers that may be left out, [2, 3, 8] (families/may_skip.h)
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "families/granularities.h"
#include "families/llama/architectures.h"
#include "families/llama/rope.h"
#include "families/nesting.h"
#include "model/dtype.h"
#include "model/widths.h"

namespace mnm {

enum class Activation : std::uint8_t {
  kSilu,      // "silu", "swish"
  kGelu,      // families/gelu_names.h: by erf
  kGeluTanh,  // and the tanh approximation
  kRelu,      // "relu"
};

enum class GateVariant : std::uint8_t {
  kActGateTimesUp,  // down(act(gate(x)) * up(x)): Llama
  kActOfProduct,    // down(act(gate(x) * up(x))): the public MatFormer training code
};
std::string_view to_string(GateVariant gate);  // "act(gate)*up", "act(gate*up)"

struct LlamaConfig {
  const LlamaArchitecture* architecture = nullptr;
  std::int64_t layers = 0;
  std::int64_t hidden_size = 0;
  std::int64_t heads = 0;
  std::int64_t kv_heads = 0;
  std::int64_t head_dim = 0;  // even
  std::int64_t vocab_size = 0;
  std::int64_t max_position_embeddings = 0;
  double rms_norm_eps = 1e-6;
  double initializer_range = 0.02;  // standard deviation of fresh weights
  bool tied = false;                // the head is the embedding
  bool qkv_bias = false, o_bias = false;
  bool mlp_bias = false;     // on gate, up and down; down's is never cut
  bool compensated = false;  // then mlp_bias is true
  std::string hidden_act;    // as the config spells it
  Activation activation = Activation::kSilu;
  GateVariant gate = GateVariant::kActGateTimesUp;
  std::int64_t rotary_dim = 0;  // first elements of a head that positions turn, even
  double rope_theta = 10000;
  double local_theta = 0;  // of layers that are local, whose RoPE has no scaling; 0: as the others
  std::optional<RopeScaling> rope_scaling;
  HeadNorms head_norms = HeadNorms::kNone;
  double attention_scale = 0;  // of scores: 1 / sqrt(head_dim), unless stated
  double embedding_multiplier = 1, residual_multiplier = 1;
  double logits_divisor = 1;
  std::int64_t query_scalar = 0;             // query_pre_attn_scalar, which attention_scale is of
  double attention_cap = 0, logits_cap = 0;  // x is cap * tanh(x / cap); 0: there is none
  double norm_offset = 0;                    // norms multiply by this plus their weight
  std::vector<std::int64_t> windows;  // [layers]: positions a token attends to, itself among them;
                                      // 0: all. Less than max_position_embeddings
  std::vector<bool> local;            // [layers]: whether it is of the kind that has a window
  std::vector<bool> turns;            // [layers]: whether positions turn its heads
  Dtype dtype = Dtype::kF32;
  std::vector<std::vector<Width>>
      granularities;  // [layers], ascending; the last one is the full width

  // The longest sequence: a dynamic RoPE stretches what max_position_embeddings says.
  std::int64_t context() const;
  Width full_width(std::size_t layer) const { return granularities[layer].back(); }
  std::int64_t q_size() const { return heads * head_dim; }
  std::int64_t kv_size() const { return kv_heads * head_dim; }
  // Elements that one norm of q and one of k run over.
  std::int64_t q_norm_size() const { return head_norms == HeadNorms::kWhole ? q_size() : head_dim; }
  std::int64_t k_norm_size() const {
    return head_norms == HeadNorms::kWhole ? kv_size() : head_dim;
  }
  // Why a reader that has Llama's own arithmetic alone computes otherwise; empty: it does not.
  std::string differs_from_llama() const;
};

// Error names a key that is absent, of another type, out of range, spelled in two ways that
// disagree, or that asks for what is not computed here (another activation, rope_type, attention).
// UsageError if the user's granularities are wrong.
LlamaConfig parse_llama_config(const nlohmann::json& config, const Nesting& nesting);

// Family::with_layers.
nlohmann::json llama_config_with_layers(const nlohmann::json& config, std::int64_t layers);

}  // namespace mnm
