// A table of the published architectures that differ from Llama in a few facts. Each has a row.
//
// Code that computes or writes such a model (tensor table, fold, ONNX, GGUF, Hugging Face, the page
// of models) reads its row, or LlamaConfig, which the config reader fills in by the row. No code
// asks for an architecture by its name. Sources of the facts: configuration_*.py and modeling_*.py
// of transformers 5.23, and convert_hf_to_gguf.py of llama.cpp.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <string_view>

namespace mnm {

enum class WindowRule : std::uint8_t {
  kNone,     // every layer attends to all tokens before it; the keys are not read
  kAll,      // sliding_window in every layer, unless it is null
  kFlagged,  // only where use_sliding_window is true: from layer max_window_layers on
  kNoRope,   // only where use_sliding_window is true: in layers that do not turn their heads
  kTyped,    // where layer_types says so; without it, in all layers but every full_every-th
};

enum class TurnRule : std::uint8_t {
  kAll,       // positions turn the heads of all layers
  kListed,    // where no_rope_layers says so; without it, but in every no_rope_layer_interval-th
  kWindowed,  // in layers with a window alone, unless sliding_window is null
};

enum class CapRule : std::uint8_t {
  kNone,
  kLogits,  // final_logit_softcapping; attn_logit_softcapping is null
  kBoth,    // attn_logit_softcapping, final_logit_softcapping
};

enum class BlockNorms : std::uint8_t {
  kBefore,  // of what attention and FFN are given
  kAfter,   // of what they give
  kBoth,
};

enum class HeadNorms : std::uint8_t {
  kNone,
  kEach,   // RMSNorm of every head of q and k, before they turn
  kWhole,  // of all heads of q as one row, and of those of k
};

// A tensor's name in the checkpoint and in the tensor table. In a layer, after its prefix.
struct OtherName {
  std::string_view stored, name;
  bool in_layer = true;
};

struct LlamaArchitecture {
  std::string_view model_type;         // as config.json spells it: "qwen2"
  std::string_view stem;               // of transformers' classes: "Qwen2" of Qwen2ForCausalLM
  std::string_view config_stem = {};   // of its config's class where that is another
  std::string_view spellings = {};     // another name in `architectures`, as some configs have it
  std::string_view published = {};     // who has published such models, for the page of models
  std::string_view differs = {};       // from Llama, for the same page
  std::string_view written_type = {};  // model_type of submodels; empty: the same

  // What transformers takes where config.json has no such key; 0: it follows from other keys.
  std::int64_t kv_heads = 0, head_dim = 0, positions = 2048;
  double epsilon = 1e-6, theta = 10000;
  bool tied = false;
  std::string_view act = "silu", act_key = "hidden_act";

  // The keys that say whether there are biases; empty: there are none.
  std::string_view qkv_bias = "attention_bias", o_bias = "attention_bias", mlp_bias = {};
  bool has_qkv_bias = false;  // without the key, or whatever a config says where there is none

  bool states_rope = false;     // without one a config means a scaled one, and is refused
  bool longrope = false;        // RoPE is of the types default and longrope alone
  bool partial_rotary = false;  // partial_rotary_factor: only the first elements of a head turn
  double rotary_part = 1;       // without that key
  bool turns_pairs = false;     // positions turn neighbours, and not an element of each half
  bool fused_qkv = false;       // one matrix of q, k and v
  bool fused_ffn = false;       // one matrix of gate and up
  HeadNorms head_norms = HeadNorms::kNone;
  BlockNorms block_norms = BlockNorms::kBefore;
  // The norms of what attention and FFN give.
  std::string_view attention_norm_after = "post_attention_layernorm";
  std::string_view ffn_norm_after = "post_feedforward_layernorm";
  WindowRule window = WindowRule::kNone;
  std::int64_t default_window = 0;  // without the key; 0: none
  std::int64_t full_every = 0;      // of WindowRule::kTyped; 0: all layers have the window
  bool full_first = false;          // the first of so many has none, and not the last
  bool window_pattern = false;      // sliding_window_pattern takes the place of full_every
  TurnRule turns = TurnRule::kAll;
  // Layers with a window have a RoPE of their own, without scaling; its theta without a key (0: as
  // in the others).
  bool local_rope = false;
  double local_theta = 0;
  bool multipliers = false;   // embedding_, attention_, residual_multiplier and logits_scaling
  bool mup_scales = false;    // the same by scale_emb, scale_depth and dim_model_base
  bool unit_norms = false;    // norms multiply by 1 + weight; embeddings by sqrt(hidden_size)
  bool gelu_is_tanh = false;  // "gelu" means its tanh approximation
  CapRule caps = CapRule::kNone;
  bool query_scalar = false;  // query_pre_attn_scalar takes head_dim's place in attention's scale
  // Tensors that are called otherwise, and one matrix of q, k and v whose rows are, for every head
  // of k, the heads of q that share it, its own, and the head of v (InternLM2).
  std::span<const OtherName> other_names = {};
  std::string_view grouped_qkv = {};

  std::string_view gguf = {};  // llama.cpp's architecture for layers of one width
  bool gguf_pairs = true;      // whose rotary heads turn neighbours, and not halves
  bool gguf_output_bias = false, gguf_mlp_bias = false;  // which it may have
  bool gguf_square = false;    // all heads of q together have hidden_size elements
  bool gguf_windows = false;   // it has the windows of full_every, and no others
  bool gguf_divisors = false;  // it reads what RoPE's frequencies are divided by from a tensor
  std::string_view gguf_ffn_norm = "ffn_norm";  // what it calls the norm before the FFN
  // The number of layers of which llama.cpp takes the model for another, with hidden_size /
  // num_attention_heads in the place of query_pre_attn_scalar, or with windows.
  std::int64_t gguf_other_layers = 0;

  // Whether llama.cpp has layers of different widths, which it has for Llama's arithmetic alone.
  constexpr bool mixes_in_gguf() const { return gguf == "llama"; }

  constexpr bool norms_before() const { return block_norms != BlockNorms::kAfter; }
  constexpr bool norms_after() const { return block_norms != BlockNorms::kBefore; }
  // Of the norm of what the FFN is given.
  constexpr std::string_view ffn_norm() const {
    const bool renamed = norms_after() && attention_norm_after == "post_attention_layernorm";
    return renamed ? "pre_feedforward_layernorm" : "post_attention_layernorm";
  }
};

// In the order in which people shall read them; Llama is the first.
std::span<const LlamaArchitecture> llama_architectures();

// By the config's model_type, or that of our bridge to it ("mixnmatch_qwen2"); Llama's where the
// config has none, nullptr where it is none of these.
const LlamaArchitecture* find_llama_architecture(const nlohmann::json& config);

// How submodels are called: the class that transformers has, and what the bridge's config says.
const LlamaArchitecture& written_as(const LlamaArchitecture& architecture);
std::string class_of(const LlamaArchitecture& architecture);             // "Qwen2ForCausalLM"
std::string_view config_stem_of(const LlamaArchitecture& architecture);  // "Qwen2" of Qwen2Config
std::string bridge_class_of(const LlamaArchitecture& architecture);  // "MixNMatchQwen2ForCausalLM"
std::string bridge_type_of(const LlamaArchitecture& architecture);   // "mixnmatch_qwen2"

}  // namespace mnm
