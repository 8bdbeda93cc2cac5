#include "families/gemma3n/gemma3n_runtimes.h"

#include <string>
#include <utility>

#include "families/gemma3n/gemma3n_gguf.h"

namespace mnm {
namespace {

// The same layers at one width: whether they differ is for the rule to say.
NestedModel uniform_of(const NestedModel& model) {
  NestedModel uniform = model;
  for (LayerChoices& layer : uniform.space.layers) layer.granularities = {1};
  return uniform;
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

  // vllm/model_executor/models/gemma3n.py: consumers find their producer by its distance from the
  // end of the layers with keys and values, which is right where the producers always stay.
  RuntimeRule vllm = runtime_rule("vLLM", "as of 2025", "huggingface", Evidence::kRead);
  vllm.uniform_as = vllm.mixed_as = "its own class";

  // mistralrs-core/src/vision_models/gemma3n/text.rs: needs the towers and the unused k and v.
  RuntimeRule mistral =
      runtime_rule("mistral.rs", "commit 9e92262", "huggingface", Evidence::kRead);
  mistral.uniform_as = mistral.mixed_as = "a multimodal directory with k_proj in every layer";

  RuntimeRule mlx = runtime_rule("mlx-lm", "as of 2025", "huggingface", Evidence::kRead);
  mlx.uniform_as = mlx.mixed_as = "k_proj in every layer; scores without a cache are wrong";

  RuntimeRule litert = runtime_rule("LiteRT-LM", "as of 2025", "huggingface", Evidence::kRead);
  litert.refusal = "it loads .litertlm bundles, which are not written here";

  return {transformers, onnxruntime, genai, llama_cpp, vllm, mistral, mlx, litert};
}

}  // namespace mnm
