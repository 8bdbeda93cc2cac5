#include "cli/common_options.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>

#include "model/error.h"
#include "model/quantity.h"

namespace mnm {
void add_model_options(OptionTable& options, ModelOptions& model) {
  options
      .argument("DIR", required(path_value(model.directory, "DIR")),
                "the nested checkpoint: config.json and safetensors files")
      .section("model");
  add_nesting_options(options, model.nesting);
}

void add_nesting_options(OptionTable& options, Nesting& nesting) {
  options
      .option("granularities", text_value(nesting.granularities, "LIST"),
              "widths that were trained, where the config does not say: 64,128,256 or 1/4,1/2,1")
      .option(
          "may-skip", text_value(nesting.may_skip, "LAYERS"),
          "layers that may be left out, counted from 0: 2-6,8; else those that the config names");
}

void add_device_options(OptionTable& options, DeviceOptions& device) {
  options.section("device")
      .option("device", text_value(device.device, "DEVICE"), "cpu, cuda or cuda:N")
      .option("dtype", dtype_value(device.dtype),
              "of weights, and of arithmetic where the device has instructions for it")
      .option("threads", threads_value(device.threads), "of the CPU; 0: one per core")
      .option("memory", quantity_value(device.memory, "BYTES"),
              "for weights, states and work space; else what is free, a part of it left alone")
      .option("stream", flag_value(device.stream),
              "read the weights layer by layer, once per pass; also done where they do not fit the "
              "memory");
}

void add_data_options(OptionTable& options, ExampleOptions& data) {
  options
      .option("token-format", token_format_value(data.format),
              "of token files without a header; else bytes or text where the model reads them")
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

void add_latency_option(OptionTable& options, std::optional<std::int64_t>& latency) {
  options.option("latency", id_value(latency, "ID"),
                 "the measurement of --db that latency is counted by; else the newest of the model "
                 "('mixnmatch latency' makes them)");
}

std::string value_text(CostKind kind, std::int64_t value) {
  const auto number = static_cast<double>(value);
  return kind == CostKind::kLatency ? fmt::format("{:.4g} ms", 1e-6 * number) : quantity(number);
}

Cell cost_cell(CostKind kind, const Cost& cost) {
  return {value_text(kind, cost.of(kind)), cost.of(kind), {}};
}

std::string cost_text(CostKind kind, std::int64_t context) {
  if (kind == CostKind::kLatency) return "nanoseconds of latency";
  std::string text(to_string(kind));
  if (kind == CostKind::kFlops) text += fmt::format(" at a context of {}", context);
  return text;
}

}  // namespace mnm
