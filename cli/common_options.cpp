#include "cli/common_options.h"

#include <limits>

#include "model/error.h"

namespace mnm {

void add_model_options(OptionTable& options, ModelOptions& model) {
  options
      .argument("DIR", required(path_value(model.directory, "DIR")),
                "the nested checkpoint: config.json and safetensors files")
      .section("model")
      .option("granularities", text_value(model.granularities.text, "LIST"),
              "widths that were trained, where the config does not say: 64,128,256 or 1/4,1/2,1");
}

void add_device_options(OptionTable& options, DeviceOptions& device) {
  options.section("device")
      .option("device", text_value(device.device, "DEVICE"), "cpu, cuda or cuda:N")
      .option("dtype", dtype_value(device.dtype), "of weights and arithmetic")
      .option("threads", threads_value(device.threads), "of the CPU; 0: one per core")
      .option("memory", quantity_value(device.memory, "BYTES"),
              "for weights, states and work space; else what is free, a part of it left alone")
      .option("stream", flag_value(device.stream),
              "read the weights layer by layer, once per pass; also done where they do not fit the "
              "memory");
}

void add_data_options(OptionTable& options, DatasetOptions& data) {
  options
      .option("context",
              count_value(data.context, 0, std::numeric_limits<std::int32_t>::max(), "TOKENS"),
              "per sequence; 0: 256, or what the model allows where that is less")
      .option("max-tokens", quantity_value(data.max_tokens, "N"),
              "use only the first whole sequences of each token file; else all")
      .option("positions", position_share_value(data.positions),
              "score a drawn share of each sequence's positions, the same for every submodel: "
              "cheaper readouts, larger standard errors")
      .option("positions-seed", count_value(data.positions.seed), "which ones are drawn");
}

std::pair<CostKind, std::int64_t> parse_budget(const std::string& text, CostKind kind) {
  const std::size_t equals = text.find('=');
  if (equals != std::string::npos) kind = parse_cost_kind(text.substr(0, equals));
  const std::int64_t limit =
      parse_quantity(equals == std::string::npos ? text : text.substr(equals + 1));
  if (limit <= 0) fail_usage("the budget '{}' is not positive", text);
  return {kind, limit};
}

std::vector<std::pair<CostKind, std::int64_t>> parse_budgets(const std::vector<std::string>& texts,
                                                             CostKind kind) {
  std::vector<std::pair<CostKind, std::int64_t>> budgets;
  for (const std::string& text : texts) budgets.push_back(parse_budget(text, kind));
  return budgets;
}

std::string cost_text(CostKind kind, std::int64_t context) {
  std::string text(to_string(kind));
  if (kind == CostKind::kFlops) text += fmt::format(" at a context of {}", context);
  return text;
}

}  // namespace mnm
