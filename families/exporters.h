// A submodel in the terms of each format, which a family states, and the table of the formats that
// the family has. artifact/formats.h makes a planned export from it.
#pragma once

#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <variant>

#include "export/gguf_model.h"
#include "export/onnx_graph.h"
#include "export/timm_model.h"
#include "model/dtype.h"
#include "model/nested_model.h"

namespace mnm {

// The texts that make a directory of safetensors one that Hugging Face's libraries load:
// config.json, and the files of code that it names (file name -> content).
struct HuggingFaceTexts {
  nlohmann::json config;
  std::map<std::string, std::string> bridge;
  std::string auto_class = "AutoModelForCausalLM";  // transformers' class that loads it
};

// The alternative decides which writer writes the files.
using FormatModel = std::variant<HuggingFaceTexts, GgufModel, OnnxModel, TimmModel>;

// A format of a family: the function that states a submodel in it, or the reason why there is none.
struct Exporter {
  std::string_view format;  // as --format spells it: "huggingface", "gguf", "timm"...
  // The submodel is a model of its own and is stated at its full widths (Family::submodel). Its
  // weights are stored in `stored`. Error, with the reason, if the format cannot hold it.
  FormatModel (*state)(const NestedModel& submodel, Dtype stored) = nullptr;
  std::string_view why_not = {};  // a sentence; where `state` is null
};

}  // namespace mnm
