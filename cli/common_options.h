// Options that several commands share.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "cli/options.h"
#include "cli/table.h"
#include "eval/dataset.h"
#include "eval/scores.h"
#include "families/granularities.h"
#include "model/cost.h"

namespace mnm {

struct ModelOptions {
  std::filesystem::path directory;
  Granularities granularities;
};

void add_model_options(OptionTable& options, ModelOptions& model);     // DIR, --granularities
void add_device_options(OptionTable& options, DeviceOptions& device);  // --device, --dtype...
void add_data_options(OptionTable& options, DatasetOptions& data);     // --context, --max-tokens

// "1.2M" is of `kind`; "bytes=3MB" of the kind it names; "12ms" and the like are of latency, in
// nanoseconds. UsageError; it must be positive.
std::pair<CostKind, std::int64_t> parse_budget(const std::string& text, CostKind kind);
std::vector<std::pair<CostKind, std::int64_t>> parse_budgets(const std::vector<std::string>& texts,
                                                             CostKind kind);
// "params"; FLOPs, which hang on it, also with the context: "flops at a context of 256";
// "nanoseconds of latency".
std::string cost_text(CostKind kind, std::int64_t context);

inline constexpr const char* kBudgetHelp =
    "an upper limit: '1.2M' on --cost, 'bytes=3MB' on another kind, '12ms' on latency";

// --latency ID: which measurement counts where latency is a cost.
void add_latency_option(OptionTable& options, std::optional<std::int64_t>& latency);
// Whether it is, by --cost or a budget.
bool counts_latency(CostKind cost, const std::vector<std::pair<CostKind, std::int64_t>>& budgets);

// "1.23M", and a latency as "12.3 ms"; for programs the number, a latency in nanoseconds.
std::string value_text(CostKind kind, std::int64_t value);
Cell cost_cell(CostKind kind, const Cost& cost);

}  // namespace mnm
