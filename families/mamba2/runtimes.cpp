#include "families/mamba2/runtimes.h"

#include <fmt/format.h>

#include <numeric>
#include <string>
#include <utility>

#include "families/mamba2/config.h"

namespace mnm {
namespace {

constexpr std::int64_t kQ8Block = 32;

// The widths whose inner channels are a whole number of `channels`.
Width multiple_of(std::int64_t channels) {
  return static_cast<Width>(channels / std::gcd(channels, kInnerPerWidth));
}

}  // namespace

std::vector<RuntimeRule> mamba2_runtimes(const NestedModel& model) {
  const Mamba2Config config = parse_mamba2_config(model.config, {});
  const std::string stock = "Mamba2ForCausalLM";
  const std::string bridge = "the bridge beside it, trust_remote_code";
  const bool limited = config.time_step_limit.binds();

  RuntimeRule native = runtime_rule("transformers, stock", "5.23.0", "huggingface");
  native.uniform_as = stock;
  native.multiple = multiple_of(config.hidden_size);
  native.why_not = "Mamba2Config holds one expand, inner channels as a multiple of hidden_size";
  if (limited) {
    native.refusal =
        "the model limits its time steps, and Mamba2ForCausalLM does not limit those of tokens "
        "that "
        "come one by one, with a cache";
  }

  RuntimeRule transformers = native;
  transformers.runtime = "transformers";
  transformers.refusal.clear();
  transformers.uniform_as =
      limited ? bridge
              : fmt::format("{} at multiples of {}, elsewhere {}", stock, native.multiple, bridge);
  transformers.mixed_as = bridge;
  transformers.multiple = 1;

  RuntimeRule onnxruntime = runtime_rule("onnxruntime", "1.31.0", "onnx");
  onnxruntime.uniform_as = onnxruntime.mixed_as = "scorer.onnx, opset 17, CPU";
  RuntimeRule genai = runtime_rule("onnxruntime-genai", "0.18.0", "onnx");
  genai.refusal = "it runs decoders with a cache, and the export is a scorer alone";

  RuntimeRule llama_cpp = runtime_rule("llama.cpp", "llama-cpp-python 0.3.36", "gguf");
  llama_cpp.uniform_as = "architecture mamba2";
  llama_cpp.why_not = "its mamba2 has one ssm.inner_size for all layers";
  if (config.bias) llama_cpp.refusal = "its mamba2 has no biases of the projections";
  if (limited) llama_cpp.refusal = "its mamba2 has no limits of time steps";

  RuntimeRule quantised = llama_cpp;
  quantised.dtypes = {"q8_0"};
  quantised.multiple = multiple_of(kQ8Block);
  quantised.why_not = fmt::format("{}, and a row of q8_0 is blocks of {} inner channels",
                                  llama_cpp.why_not, kQ8Block);
  if (quantised.refusal.empty() && config.hidden_size % kQ8Block != 0) {
    quantised.refusal = fmt::format("hidden_size is {}, and a row of q8_0 is blocks of {}",
                                    config.hidden_size, kQ8Block);
  }

  // vllm/model_executor/models/mamba2.py and layers/mamba/mamba_mixer2.py.
  RuntimeRule vllm = native;
  vllm.runtime = "vLLM";
  vllm.version = "commit 055e47c";
  vllm.evidence = Evidence::kRead;
  if (limited) vllm.refusal = "its Mamba2 has no limits of time steps";

  return {transformers, native, onnxruntime, genai, llama_cpp, quantised, vllm};
}

}  // namespace mnm
