// What commands write into the store about themselves, and how users name what is in it.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "dataset/examples.h"
#include "db/store.h"
#include "families/open_model.h"

namespace mnm {

ModelRow model_row(const OpenedModel& opened);
DataRow data_row(const Examples& data);

// Users name a model by its id, name or the beginning of its fingerprint; data also by the part
// that the model's runs used it as.
// UsageError lists what there is where none or several have that name.
std::int64_t model_named(const Store& store, const std::string& name);
std::int64_t data_named(const Store& store, const std::string& name,
                        std::optional<std::int64_t> scored_with_model = {});

// What the runs of a model, or of all of them, used a dataset for: "search", "confirm",
// "search+confirm" or "".
std::string part_of(const std::vector<DataUse>& uses, std::int64_t data,
                    std::optional<std::int64_t> model = {});

// "search.bin, search part, 64 sequences of 256 tokens": for messages and captions.
std::string data_text(const DataRow& row, const std::string& part);
// What latency is counted by: the model's measurement of that id, or its newest. UsageError where
// there is none, says how to make one.
LatencyRow latency_named(const Store& store, std::int64_t model,
                         const std::optional<std::int64_t>& id);
// The same for a checkpoint, which the store may not know.
LatencyRow latency_named(const Store& store, const OpenedModel& opened,
                         const std::optional<std::int64_t>& id);
// "latency 3 (decode after 128 tokens, batch 1, f32 on cpu...; sums are off by 2.1 % rms)"
std::string latency_text(const LatencyRow& row);

// UsageError where no record that passes the query's other filters meets its budgets: names, for
// each, the smallest that something does.
void require_something_within(const Store& store, const FrontQuery& query);

}  // namespace mnm
