#include "families/llama/llama_architectures.h"

#include <fmt/format.h>

#include <algorithm>

#include "model/error.h"

namespace mnm {
namespace {

constexpr std::string_view kBridgePrefix = "mixnmatch_";

constexpr LlamaArchitecture kArchitectures[] = {
    {.model_type = "llama",
     .stem = "Llama",
     .spellings = "LLaMAForCausalLM",
     .published = "Llama 1 to 3.3, TinyLlama, SmolLM and SmolLM2, Yi-1.5, DeepSeek-LLM, Minitron",
     .mlp_bias = true,
     .gguf = "llama",
     .gguf_output_bias = true,
     .gguf_mlp_bias = true},
    {.model_type = "mistral",
     .stem = "Mistral",
     .published = "Mistral 7B, Mistral Nemo, Mistral Small, Zephyr",
     .differs = "a window of positions, where sliding_window is not null",
     .kv_heads = 8,
     .positions = 4096 * 32,
     .bias = BiasRule::kNever,
     .window = WindowRule::kAll,
     .default_window = 4096,
     .gguf = "llama"},
    {.model_type = "ministral",
     .stem = "Ministral",
     .published = "Ministral 8B of 2024",
     .differs = "a window of positions in the layers that layer_types names",
     .kv_heads = 8,
     .positions = 4096 * 32,
     .bias = BiasRule::kNever,
     .window = WindowRule::kTyped,
     .default_window = 4096,
     .gguf = "llama"},
    {.model_type = "Yi",
     .stem = "Yi",
     .published = "Yi's first release",
     .differs = "the names of two norms; submodels are written as Llama",
     .written_type = "llama",
     .positions = 4096,
     .theta = 5000000,
     .bias = BiasRule::kNever,
     .gguf = "llama"},
    {.model_type = "qwen2",
     .stem = "Qwen2",
     .published = "Qwen1.5, Qwen2, Qwen2.5, QwQ",
     .differs = "biases on q, k and v",
     .kv_heads = 32,
     .positions = 32768,
     .bias = BiasRule::kQkv,
     .window = WindowRule::kFlagged,
     .default_window = 4096,
     .gguf = "qwen2",
     .gguf_pairs = false},
    {.model_type = "qwen3",
     .stem = "Qwen3",
     .published = "Qwen3, dense",
     .differs = "norms of every head of q and k",
     .kv_heads = 32,
     .head_dim = 128,
     .positions = 32768,
     .head_norms = HeadNorms::kEach,
     .window = WindowRule::kFlagged,
     .default_window = 4096,
     .gguf = "qwen3",
     .gguf_pairs = false},
    {.model_type = "phi3",
     .stem = "Phi3",
     .published = "Phi-3 mini and medium, Phi-3.5 mini, Phi-4, Phi-4-mini",
     .differs = "one matrix of q, k and v, one of gate and up",
     .positions = 4096,
     .epsilon = 1e-5,
     .bias = BiasRule::kNever,
     .longrope = true,
     .partial_rotary = true,
     .fused = true,
     .window = WindowRule::kAll,
     .gguf = "phi3",
     .gguf_pairs = false},
    {.model_type = "granite",
     .stem = "Granite",
     .published = "Granite 3.0 to 3.3, dense",
     .differs = "four multipliers",
     .mlp_bias = true,
     .multipliers = true,
     .gguf = "granite",
     .gguf_output_bias = true,
     .gguf_mlp_bias = true},
    {.model_type = "minicpm",
     .stem = "MiniCPM",
     .published = "MiniCPM 1B and 2B, MiniCPM4",
     .differs = "three multipliers; submodels are written as Granite",
     .written_type = "granite",
     .tied = true,
     .mup_scales = true,
     .gguf = "granite",
     .gguf_output_bias = true},
    {.model_type = "smollm3",
     .stem = "SmolLM3",
     .published = "SmolLM3",
     .differs = "layers that do not turn their heads",
     .kv_heads = 4,
     .positions = 32768,
     .theta = 2000000,
     .tied = true,
     .mlp_bias = true,
     .window = WindowRule::kNoRope,
     .no_rope_layers = true,
     .gguf = "smollm3"},
    {.model_type = "olmo2",
     .stem = "Olmo2",
     .published = "OLMo 2",
     .differs = "norms after the blocks, and of all heads of q and of k",
     .epsilon = 1e-5,
     .head_norms = HeadNorms::kWhole,
     .block_norms = BlockNorms::kAfter,
     .gguf = "olmo2",
     .gguf_pairs = false},
    {.model_type = "gemma",
     .stem = "Gemma",
     .published = "Gemma 1, CodeGemma",
     .differs = "norms by 1 + weight, scaled embeddings, GeLU",
     .kv_heads = 16,
     .head_dim = 256,
     .positions = 8192,
     .tied = true,
     .act = "gelu_pytorch_tanh",
     .unit_norms = true,
     .gelu_is_tanh = true,
     .gguf = "gemma",
     .gguf_pairs = false},
    {.model_type = "gemma2",
     .stem = "Gemma2",
     .published = "Gemma 2",
     .differs = "as Gemma 1; norms before and after the blocks, caps on scores and logits, windows",
     .kv_heads = 4,
     .head_dim = 256,
     .positions = 8192,
     .tied = true,
     .act = "gelu_pytorch_tanh",
     .act_key = "hidden_activation",
     .block_norms = BlockNorms::kBoth,
     .window = WindowRule::kTyped,
     .default_window = 4096,
     .full_every = 2,
     .unit_norms = true,
     .soft_caps = true,
     .query_scalar = true,
     .gguf = "gemma2",
     .gguf_pairs = false,
     .gguf_windows = true},
};

const LlamaArchitecture* named(std::string_view model_type) {
  const auto found = std::ranges::find(kArchitectures, model_type, &LlamaArchitecture::model_type);
  return found == std::end(kArchitectures) ? nullptr : &*found;
}

}  // namespace

std::span<const LlamaArchitecture> llama_architectures() { return kArchitectures; }

const LlamaArchitecture* find_llama_architecture(const nlohmann::json& config) {
  const auto type = config.find("model_type");
  if (type == config.end() || type->is_null()) return &kArchitectures[0];
  if (!type->is_string()) return nullptr;
  std::string_view name = type->get_ref<const std::string&>();
  if (name.starts_with(kBridgePrefix)) name.remove_prefix(kBridgePrefix.size());
  return named(name);
}

const LlamaArchitecture& written_as(const LlamaArchitecture& architecture) {
  if (architecture.written_type.empty()) return architecture;
  return *named(architecture.written_type);
}

std::string class_of(const LlamaArchitecture& architecture) {
  return fmt::format("{}ForCausalLM", architecture.stem);
}

std::string bridge_class_of(const LlamaArchitecture& architecture) {
  return fmt::format("MixNMatch{}", class_of(architecture));
}

std::string bridge_type_of(const LlamaArchitecture& architecture) {
  return fmt::format("{}{}", kBridgePrefix, architecture.model_type);
}

}  // namespace mnm
