#include "families/llama/runtimes.h"

#include <fmt/format.h>

#include <utility>

#include "families/llama/config.h"
#include "families/llama/decilm.h"
#include "families/llama/gguf.h"

namespace mnm {
namespace {

constexpr Width kQ8Block = 32;
constexpr const char* kTransformers = "5.23.0";
constexpr const char* kOnnxRuntime = "1.31.0";
constexpr const char* kGenai = "0.18.0";
constexpr const char* kLlamaCpp = "llama-cpp-python 0.3.36";
constexpr const char* kVllm = "commit 00bd149";
constexpr const char* kOneSize = "its config holds one intermediate_size for all layers";
constexpr const char* kFfnMult = "ffn_mult makes widths that are multiples of 256";

// Of runtimes that have Llama's own gate and no other.
std::string gate_refusal(const LlamaConfig& config) {
  if (config.gate == GateVariant::kActGateTimesUp) return "";
  return fmt::format("the FFN computes {}, and it computes {} only", to_string(config.gate),
                     to_string(GateVariant::kActGateTimesUp));
}

// Of runtimes that have the architecture's usual activation and no other.
std::string activation_refusal(const LlamaConfig& config) {
  const std::string_view usual = config.architecture->act;
  if (config.hidden_act == usual || (config.activation == Activation::kSilu && usual == "silu")) {
    return "";
  }
  return fmt::format("hidden_act is {}, and it computes {} only", config.hidden_act, usual);
}

std::string own_head_dim_refusal(const LlamaConfig& config) {
  if (config.head_dim * config.heads == config.hidden_size) return "";
  return fmt::format("head_dim is {}, and it takes hidden_size / num_attention_heads, {}",
                     config.head_dim, config.hidden_size / config.heads);
}

std::string first(std::string a, std::string b) { return a.empty() ? b : a; }

}  // namespace

std::vector<RuntimeRule> llama_runtimes(const NestedModel& model) {
  const LlamaConfig config = parse_llama_config(model.config, {});
  const bool own_gate = config.gate == GateVariant::kActGateTimesUp;
  const std::string bridge = "the bridge beside it, trust_remote_code";
  const std::string stock = class_of(written_as(*config.architecture));
  const std::string differs = config.differs_from_llama();

  RuntimeRule transformers = runtime_rule("transformers", kTransformers, "huggingface");
  transformers.uniform_as = own_gate ? stock : bridge;
  transformers.mixed_as = bridge;

  RuntimeRule native = transformers;
  native.runtime = "transformers, stock";
  native.uniform_as = stock;
  native.mixed_as = "";
  native.why_not =
      "its model reads one intermediate_size, and a config with per_layer_config is refused";
  native.refusal = gate_refusal(config);

  RuntimeRule block_configs = transformers;
  block_configs.format = "decilm";
  block_configs.uniform_as = block_configs.mixed_as =
      "DeciLMForCausalLM, the bridge beside it, trust_remote_code";
  block_configs.multiple = kDeciLmMultiple;
  block_configs.why_not = kFfnMult;
  block_configs.refusal = first(gate_refusal(config), differs);

  RuntimeRule onnxruntime = runtime_rule("onnxruntime", kOnnxRuntime, "onnx");
  onnxruntime.uniform_as = onnxruntime.mixed_as = "scorer.onnx, opset 17, CPU";
  RuntimeRule genai = runtime_rule("onnxruntime-genai", kGenai, "onnx");
  genai.uniform_as = genai.mixed_as = "model.onnx, the decoder with its cache";

  RuntimeRule llama_cpp = runtime_rule("llama.cpp", kLlamaCpp, "gguf");
  llama_cpp.uniform_as = fmt::format("architecture {}", config.architecture->gguf);
  if (llama_gguf_mixes(config)) {
    llama_cpp.mixed_as = "architecture deci";
  } else {
    llama_cpp.why_not = "it has layers of different widths for Llama's arithmetic alone";
  }
  llama_cpp.refusal = llama_gguf_refusal(config);

  RuntimeRule quantised = llama_cpp;
  quantised.dtypes = {"q8_0"};
  quantised.multiple = kQ8Block;
  quantised.why_not = fmt::format("a row of q8_0 is blocks of {}", kQ8Block);
  for (const auto& [name, size] : {std::pair("hidden_size", config.hidden_size),
                                   std::pair("the size of all heads", config.q_size())}) {
    if (quantised.refusal.empty() && size % kQ8Block != 0) {
      quantised.refusal = fmt::format("{} is {}, and {}", name, size, quantised.why_not);
    }
  }

  RuntimeRule vllm = runtime_rule("vLLM", kVllm, "huggingface");
  vllm.evidence = Evidence::kRead;
  vllm.uniform_as = stock;
  vllm.why_not = kOneSize;
  vllm.refusal = first(gate_refusal(config), activation_refusal(config));

  RuntimeRule vllm_blocks = vllm;
  vllm_blocks.format = "decilm";
  vllm_blocks.uniform_as = vllm_blocks.mixed_as = "DeciLMForCausalLM, --trust-remote-code";
  vllm_blocks.multiple = kDeciLmMultiple;
  vllm_blocks.why_not = kFfnMult;
  vllm_blocks.refusal = first(vllm.refusal, differs);

  RuntimeRule nvidia = vllm_blocks;
  nvidia.runtime = "NVIDIA DeciLM";
  nvidia.version = "Llama-3_3-Nemotron-Super-49B-v1";
  nvidia.uniform_as = nvidia.mixed_as = "its configuration_decilm.py in the bridge's place";
  nvidia.refusal = first(block_configs.refusal, own_head_dim_refusal(config));

  return {transformers, native,    block_configs, onnxruntime, genai,
          llama_cpp,    quantised, vllm,          vllm_blocks, nvidia};
}

}  // namespace mnm
