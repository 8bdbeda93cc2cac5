#include "families/image_runtimes.h"

namespace mnm {

std::vector<RuntimeRule> image_runtimes() {
  RuntimeRule onnxruntime = runtime_rule("onnxruntime", "1.31.0", "onnx");
  onnxruntime.uniform_as = onnxruntime.mixed_as = "scorer.onnx, opset 17, CPU";
  RuntimeRule llama_cpp = runtime_rule("llama.cpp", "llama-cpp-python 0.3.36", "gguf");
  llama_cpp.refusal = "it runs language models, and has no architecture for a classifier of images";
  return {onnxruntime, llama_cpp};
}

}  // namespace mnm
