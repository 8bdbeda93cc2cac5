#include "families/mamba2_vision/runtimes.h"

#include "families/image_runtimes.h"

namespace mnm {

std::vector<RuntimeRule> mamba2_vision_runtimes() {
  RuntimeRule transformers = runtime_rule("transformers", "5.23.0", "huggingface");
  transformers.uniform_as = transformers.mixed_as = "the bridge beside it, trust_remote_code";
  RuntimeRule native = runtime_rule("transformers, stock", "5.23.0", "huggingface");
  native.refusal = "it has no class for images that is made of Mamba-2 blocks";
  RuntimeRule timm = runtime_rule("timm", "1.0.30", "timm");
  timm.refusal = "it has no model of Mamba-2 blocks";

  std::vector<RuntimeRule> rules = image_runtimes();
  rules.insert(rules.begin(), {transformers, native, timm});
  return rules;
}

}  // namespace mnm
