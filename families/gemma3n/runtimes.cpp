#include "families/gemma3n/runtimes.h"

#include <fmt/format.h>

#include <cstdint>
#include <string>
#include <utility>

#include "families/gemma3n/config.h"
#include "families/gemma3n/gguf.h"

namespace mnm {
namespace {

// The same layers at one width: whether they differ is for the rule to say.
NestedModel uniform_of(const NestedModel& model) {
  NestedModel uniform = model;
  for (LayerChoices& layer : uniform.space.layers) layer.granularities = {1};
  return uniform;
}

// vllm/model_executor/models/gemma3n.py finds the layer whose keys and values another reads by its
// distance from the end of the layers that have their own. That is right in every submodel if the
// last two of these are read at those distances and always stay.
std::string vllm_refusal(const NestedModel& model, const Gemma3nConfig& config) {
  if (!config.correct_scale) return "its gemma3n wants altup_correct_scale to be true";
  const std::int64_t own = config.own_layers();
  for (std::int64_t layer = own; layer < config.layers; ++layer) {
    const auto index = static_cast<std::size_t>(layer);
    const std::int64_t source = config.sliding[index] ? own - 2 : own - 1;
    if (config.source[index] == source) continue;
    return fmt::format(
        "its gemma3n reads the keys and values of layer {} in layer {}, and the model those of "
        "layer {}",
        source, layer, config.source[index]);
  }
  if (own < config.layers && model.space.layers[static_cast<std::size_t>(own - 1)].may_skip) {
    return fmt::format(
        "its gemma3n counts from the last layer with keys and values of its own, and layer {} may "
        "be left out",
        own - 1);
  }
  return "";
}

// Of runtimes that make k_proj and v_proj in every layer, whether it is read or not.
std::string unused_kv_refusal(const Gemma3nConfig& config) {
  if (config.unused_kv || config.own_layers() == config.layers) return "";
  return fmt::format("it wants k_proj in every layer, and layers from {} on have none",
                     config.own_layers());
}

// From reading alone.
std::vector<RuntimeRule> read_rules(const NestedModel& model) {
  const Gemma3nConfig config = parse_gemma3n_config(model.config, {});

  RuntimeRule vllm = runtime_rule("vLLM", "as of 2025", "huggingface", Evidence::kRead);
  vllm.uniform_as = vllm.mixed_as = "its own class";
  vllm.refusal = vllm_refusal(model, config);

  // mistralrs-core/src/vision_models/gemma3n/text.rs.
  RuntimeRule mistral =
      runtime_rule("mistral.rs", "commit 9e92262", "huggingface", Evidence::kRead);
  mistral.uniform_as = mistral.mixed_as = "its class with towers, so not with --text-only";
  mistral.refusal = config.multimodal
                        ? unused_kv_refusal(config)
                        : "it has the class with towers alone, and this is a text model";

  RuntimeRule mlx = runtime_rule("mlx-lm", "as of 2025", "huggingface", Evidence::kRead);
  mlx.uniform_as = mlx.mixed_as = "its own class; scores without a cache are wrong";
  mlx.refusal = unused_kv_refusal(config);

  RuntimeRule litert = runtime_rule("LiteRT-LM", "as of 2025", "huggingface", Evidence::kRead);
  litert.refusal = "it loads .litertlm bundles, which are not written here";

  return {vllm, mistral, mlx, litert};
}

}  // namespace

std::vector<RuntimeRule> gemma3n_runtimes(const NestedModel& model) {
  RuntimeRule transformers = runtime_rule("transformers", "5.23.0", "huggingface");
  transformers.uniform_as = transformers.mixed_as = "its own class";

  RuntimeRule onnxruntime = runtime_rule("onnxruntime", "1.31.0", "onnx");
  onnxruntime.uniform_as = onnxruntime.mixed_as = "scorer.onnx and model.onnx, opset 17, CPU";
  RuntimeRule genai = runtime_rule("onnxruntime-genai", "0.18.0", "onnx", Evidence::kRead);
  genai.refusal = "it has no gemma3n (its issue 1704)";

  RuntimeRule llama_cpp = runtime_rule("llama.cpp", "llama-cpp-python 0.3.36", "gguf");
  llama_cpp.uniform_as = "architecture gemma3n, with the spread of gates as of a sample";
  llama_cpp.why_not = "its gemma3n creates the FFN of every layer with the first one's width";
  llama_cpp.refusal = gemma3n_gguf_refusal(uniform_of(model));

  std::vector<RuntimeRule> rules = {transformers, onnxruntime, genai, llama_cpp};
  for (RuntimeRule& rule : read_rules(model)) rules.push_back(std::move(rule));
  return rules;
}

}  // namespace mnm
