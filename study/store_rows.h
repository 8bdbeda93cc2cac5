// The rows that commands write into the store about themselves, and the names by which users find
// rows.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "dataset/examples.h"
#include "db/store.h"
#include "families/open_model.h"

namespace mnm {

ModelRow model_row(const OpenedModel& opened);
DataRow data_row(const Examples& data);

// Stores scores that were all taken at once, as a run of its own that is done. `run` says how they
// were taken: command, part, dtype, device, command line. This adds the model, the data and the
// build.
void record_run(Store& store, RunRow run, const OpenedModel& opened, const Examples& data,
                std::span<const Score> scores);

// Finds a model by its id, its name or the beginning of its fingerprint; and data likewise, or by
// the part for which the model's runs used it. UsageError, with a list of what there is, if none or
// several have that name.
std::int64_t model_named(const Store& store, const std::string& name);
std::int64_t data_named(const Store& store, const std::string& name,
                        std::optional<std::int64_t> scored_with_model = {});

// The records that a word names: one by its number, or those of `all` that have such widths
// ("512x4,256x8"), of which there is at least one. UsageError if there is none.
std::vector<Record> records_named(const Store& store, std::span<const Record> all,
                                  const std::string& word);

// What the runs of a model, or of all of them, used a dataset for: "search", "confirm",
// "search+confirm" or "".
std::string part_of(const std::vector<DataUse>& uses, std::int64_t data,
                    std::optional<std::int64_t> model = {});

// "search.bin, search part, 64 sequences of 256 tokens": for messages and captions.
std::string data_text(const DataRow& row, const std::string& part);
// The measurement that latency is counted by: the one of the model with that id, or the model's
// newest. UsageError, which says how to make one, if there is none.
LatencyRow latency_named(const Store& store, std::int64_t model,
                         const std::optional<std::int64_t>& id);
// The same for a checkpoint. The store may not know it.
LatencyRow latency_named(const Store& store, const OpenedModel& opened,
                         const std::optional<std::int64_t>& id);
// "latency 3 (decode after 128 tokens, batch 1, f32 on cpu...; sums are off by 2.1 % rms)"
std::string latency_text(const LatencyRow& row);

// UsageError if no record that passes the other filters of the query meets its budgets. It names
// the smallest value of each budget that some record meets.
void require_something_within(const Store& store, const FrontQuery& query);

}  // namespace mnm
