// Options that several commands share.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/quantity.h"
#include "cli/options.h"
#include "dataset/examples.h"
#include "eval/scores.h"
#include "families/nesting.h"
#include "model/cost.h"
#include "report/table.h"
#include "search/budget.h"

namespace mnm {

struct ModelOptions {
  std::filesystem::path directory;
  Nesting nesting;
};

void add_model_options(OptionTable& options, ModelOptions& model);   // DIR and the following
void add_nesting_options(OptionTable& options, Nesting& nesting);    // --granularities, --may-skip
void add_image_size_option(OptionTable& options, Nesting& nesting);  // --image-size
void add_device_options(OptionTable& options, DeviceOptions& device);  // --device, --dtype...
void add_data_options(OptionTable& options, ExampleOptions& data);     // --token-format, ...

inline constexpr const char* kBudgetHelp =
    "an upper limit: '1.2M' for --cost, 'bytes=3MB' or 'memory=3GB' for another kind of cost, "
    "'12ms' "
    "for latency";

// --latency ID: the measurement that is used if latency is a cost.
void add_latency_option(OptionTable& options, std::optional<std::int64_t>& latency);

// --cache-context, --cache-batch: the sequences that memory is counted with. `context`: what 0 is.
void add_cache_options(OptionTable& options, CacheLoad& cache, const char* context);

// "1.23M", or a latency as "12.3 ms". For programs the cell has the number; a latency is in
// nanoseconds.
std::string value_text(CostKind kind, std::int64_t value);
Cell cost_cell(CostKind kind, const Cost& cost);

}  // namespace mnm
