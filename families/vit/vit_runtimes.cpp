#include "families/vit/vit_runtimes.h"

#include "families/image_runtimes.h"
#include "families/vit/vit_config.h"

namespace mnm {

std::vector<RuntimeRule> vit_runtimes(const NestedModel& model) {
  RuntimeRule native = runtime_rule("transformers, stock", "5.23.0", "huggingface");
  native.uniform_as = parse_vit_config(model.config, {}).kind->class_name;
  native.why_not = "its config holds one intermediate_size for all layers";
  RuntimeRule transformers = native;
  transformers.runtime = "transformers";
  transformers.mixed_as = "the bridge beside it, trust_remote_code";

  std::vector<RuntimeRule> rules = image_runtimes();
  rules.insert(rules.begin(), {transformers, native});
  return rules;
}

}  // namespace mnm
