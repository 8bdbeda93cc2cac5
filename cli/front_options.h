// The options that choose records of a store: those of `pareto` and of `report`.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cli/options.h"
#include "db/store.h"
#include "model/cost.h"

namespace mnm {

struct FrontOptions {
  CacheLoad cache;
  std::filesystem::path db;
  std::string model, data;  // as the user names them; empty: all
  FrontQuery query;
  std::optional<std::int64_t> latency_id;
  std::vector<std::string> budgets;
};

// --db, --model, --data, --dtype and --run.
void add_record_options(OptionTable& options, FrontOptions& front);

// Looks up in the store what the user named, and completes the query. UsageError if the store has
// nothing of that name, or no such run.
void resolve(FrontOptions& front, const Store& store);

// The latency table that the query counts with; nothing if it does not count latency. UsageError
// if the store holds several models and the user named none. The caller keeps the table, and gives
// its address to the query.
std::optional<LatencyTable> latency_of(FrontOptions& front, const Store& store);

// What the memory of a store's submodels is counted by: the model as its config describes it.
struct MemoryCosts {
  NestedModel model;
  CostTable costs;  // of `model`

  MemoryCosts(NestedModel described, const CacheLoad& cache);
  MemoryCosts(const MemoryCosts&) = delete;
  MemoryCosts& operator=(const MemoryCosts&) = delete;
};

// The same for memory; null if the query does not count it. UsageError likewise, and if no context
// of the caches is given, since a store's data may differ in theirs.
std::unique_ptr<const MemoryCosts> memory_of(FrontOptions& front, const Store& store);

}  // namespace mnm
