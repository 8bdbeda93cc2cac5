#include "families/vit/runtimes.h"

#include <fmt/format.h>

#include <string>

#include "families/image_runtimes.h"
#include "families/vit/config.h"
#include "families/vit/huggingface.h"
#include "families/vit/timm_export.h"

namespace mnm {

std::vector<RuntimeRule> vit_runtimes(const NestedModel& model) {
  const VitConfig config = parse_vit_config(model.config, {});
  const std::string bridge = "the bridge beside it, trust_remote_code";
  RuntimeRule native = runtime_rule("transformers, stock", "5.23.0", "huggingface");
  native.uniform_as = config.kind->class_name;
  native.multiple = vit_native_multiple(config);
  native.why_not = config.kind->style.mlp_ratio
                       ? "its config holds one mlp_ratio for all layers, a whole number"
                       : "its config holds one intermediate_size for all layers";
  RuntimeRule transformers = native;
  transformers.runtime = "transformers";
  transformers.mixed_as = bridge;
  transformers.multiple = 1;
  if (native.multiple > 1) {
    transformers.uniform_as = fmt::format("{} at multiples of {}, elsewhere {}", native.uniform_as,
                                          native.multiple, bridge);
  }

  RuntimeRule timm = runtime_rule("timm", "1.0.30", "timm");
  timm.uniform_as = vit_timm_class(model);
  timm.why_not = "its config holds one mlp_ratio for all layers";
  timm.refusal = vit_why_not_timm(config);

  std::vector<RuntimeRule> rules = image_runtimes();
  rules.insert(rules.begin(), {transformers, native, timm});
  return rules;
}

}  // namespace mnm
