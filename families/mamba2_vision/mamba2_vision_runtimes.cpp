#include "families/mamba2_vision/mamba2_vision_runtimes.h"

#include <string>
#include <utility>

namespace mnm {
namespace {

RuntimeRule rule_of(std::string runtime, std::string version, std::string format) {
  RuntimeRule rule;
  rule.runtime = std::move(runtime);
  rule.version = std::move(version);
  rule.format = std::move(format);
  rule.dtypes = {"f32", "f16", "bf16"};
  return rule;
}

}  // namespace

std::vector<RuntimeRule> mamba2_vision_runtimes() {
  RuntimeRule transformers = rule_of("transformers", "5.23.0", "huggingface");
  transformers.uniform_as = transformers.mixed_as = "the bridge beside it, trust_remote_code";
  RuntimeRule native = rule_of("transformers, stock", "5.23.0", "huggingface");
  native.refusal = "it has no class for images that is made of Mamba-2 blocks";

  RuntimeRule onnxruntime = rule_of("onnxruntime", "1.31.0", "onnx");
  onnxruntime.uniform_as = onnxruntime.mixed_as = "scorer.onnx, opset 17, CPU";

  RuntimeRule llama_cpp = rule_of("llama.cpp", "llama-cpp-python 0.3.36", "gguf");
  llama_cpp.refusal = "it runs language models, and has no architecture for a classifier of images";
  return {transformers, native, onnxruntime, llama_cpp};
}

}  // namespace mnm
