#include "cli/common_options.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>

#include "base/error.h"
#include "base/quantity.h"

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
      .option("granularities", of_run(text_value(nesting.granularities, "LIST")),
              "the widths that were trained, if the config does not name them: 64,128,256 or "
              "1/4,1/2,1 of the full width")
      .option("may-skip", of_run(text_value(nesting.may_skip, "LAYERS")),
              "the layers that may be left out, counted from 0: 2-6,8; else those that the config "
              "names");
}

void add_image_size_option(OptionTable& options, Nesting& nesting) {
  constexpr std::int64_t kMost = 1 << 16;
  options.option("image-size", of_run(count_value(nesting.image_size, 0, kMost, "PIXELS")),
                 "for a model of images: the side of the images, to which its positions are "
                 "resized as transformers does it; 0: what the checkpoint says");
}

void add_device_options(OptionTable& options, DeviceOptions& device) {
  options.section("device")
      .option("device", text_value(device.device, "DEVICE"), "cpu, cuda or cuda:N")
      .option("dtype", of_run(dtype_value(device.dtype)),
              "type of the weights, and of the arithmetic if the device has instructions for it")
      .option("threads", threads_value(device.threads), "CPU threads; 0: one per core")
      .option("memory", quantity_value(device.memory, "BYTES"),
              "memory for weights, states and work space; else most of what is free")
      .option("stream", flag_value(device.stream),
              "read the weights layer by layer, once per pass; this is also done if they do not "
              "fit the memory");
}

void add_data_options(OptionTable& options, ExampleOptions& data) {
  options
      .option("token-format", of_run(token_format_value(data.format)),
              "format of token files without a header; else bytes or text, if the model reads them")
      .option(
          "context",
          of_run(count_value(data.context, 0, std::numeric_limits<std::int32_t>::max(), "TOKENS")),
          "tokens per sequence; 0: 256, or the most that the model allows if that is less")
      .option("max-tokens", of_run(quantity_value(data.max_tokens, "N")),
              "use only the whole sequences within the first N tokens of each file; else all")
      .option("positions", of_run(position_share_value(data.positions)),
              "score only this share of each sequence's positions, such as 1/4, drawn at random "
              "and the same for every submodel: readouts take less time, standard errors grow")
      .option("positions-seed", of_run(count_value(data.positions.seed)),
              "seed of the draw of these positions");
}

void add_latency_option(OptionTable& options, std::optional<std::int64_t>& latency) {
  options.option("latency", of_run(id_value(latency, "ID")),
                 "the measurement in --db that gives the latency; else the newest one of the model "
                 "('mixnmatch latency' measures)");
}

void add_cache_options(OptionTable& options, CacheLoad& cache, const char* context) {
  constexpr std::int64_t kMost = std::numeric_limits<std::int32_t>::max();
  options
      .option("cache-context", of_run(count_value(cache.context, 0, kMost, "TOKENS")),
              fmt::format("memory as a cost counts the weights and the caches of sequences of so "
                          "many tokens; 0: {}",
                          context))
      .option("cache-batch", of_run(count_value(cache.batch, 1, kMost, "N")),
              "how many such sequences there are");
}

std::string value_text(CostKind kind, std::int64_t value) {
  const auto number = static_cast<double>(value);
  return kind == CostKind::kLatency ? fmt::format("{:.4g} ms", 1e-6 * number) : quantity(number);
}

Cell cost_cell(CostKind kind, const Cost& cost) {
  return {value_text(kind, cost.of(kind)), cost.of(kind), {}};
}

}  // namespace mnm
