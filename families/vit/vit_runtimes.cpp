#include "families/vit/vit_runtimes.h"

#include "families/image_runtimes.h"
#include "families/vit/vit_config.h"
#include "families/vit/vit_timm_export.h"

namespace mnm {

std::vector<RuntimeRule> vit_runtimes(const NestedModel& model) {
  RuntimeRule native = runtime_rule("transformers, stock", "5.23.0", "huggingface");
  native.uniform_as = parse_vit_config(model.config, {}).kind->class_name;
  native.why_not = "its config holds one intermediate_size for all layers";
  RuntimeRule transformers = native;
  transformers.runtime = "transformers";
  transformers.mixed_as = "the bridge beside it, trust_remote_code";

  RuntimeRule timm = runtime_rule("timm", "1.0.30", "timm");
  timm.uniform_as = vit_timm_class(model);
  timm.why_not = "its config holds one mlp_ratio for all layers";

  std::vector<RuntimeRule> rules = image_runtimes();
  rules.insert(rules.begin(), {transformers, native, timm});
  return rules;
}

}  // namespace mnm
