#include "families/vit/vit_runtimes.h"

#include <string>
#include <utility>

#include "families/vit/vit_config.h"

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

std::vector<RuntimeRule> vit_runtimes(const NestedModel& model) {
  RuntimeRule native = rule_of("transformers, stock", "5.23.0", "huggingface");
  native.uniform_as = parse_vit_config(model.config, {}).kind->class_name;
  native.why_not = "its config holds one intermediate_size for all layers";
  RuntimeRule transformers = native;
  transformers.runtime = "transformers";
  transformers.mixed_as = "the bridge beside it, trust_remote_code";

  RuntimeRule onnxruntime = rule_of("onnxruntime", "1.31.0", "onnx");
  onnxruntime.uniform_as = onnxruntime.mixed_as = "scorer.onnx, opset 17, CPU";

  RuntimeRule llama_cpp = rule_of("llama.cpp", "llama-cpp-python 0.3.36", "gguf");
  llama_cpp.refusal = "it runs language models, and has no architecture for a classifier of images";
  return {transformers, native, onnxruntime, llama_cpp};
}

}  // namespace mnm
