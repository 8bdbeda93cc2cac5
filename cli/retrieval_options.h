// The options of retrieval, and the database that they name.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/interrupt.h"
#include "cli/options.h"
#include "dataset/examples.h"
#include "dataset/retrieval.h"
#include "families/open_model.h"
#include "study/scorer.h"

namespace mnm {

// What is near, and how many items are looked at.
struct NearnessOptions {
  std::string distance{kDistances[0]};
  std::int64_t depth = 10;

  Distance near() const { return distance == kDistances[1] ? Distance::kL2 : Distance::kCosine; }
};

struct RetrievalOptions {
  std::filesystem::path database;
  std::string encoder{kDatabaseEncoders[0]};
  NearnessOptions nearness;
};

void add_nearness_options(OptionTable& options, NearnessOptions& nearness);  // --distance, --depth
// --database, --encoder, --distance and --depth. All are of_run: they say which run it is.
void add_retrieval_options(OptionTable& options, RetrievalOptions& retrieval);

// Whether this is one of the options that a --database comes with.
bool is_of_retrieval(std::string_view option);

// The database, if one is named. `data`: its readers are the database's too. `store`: beside which
// the database's vectors are kept; empty: nowhere. UsageError if metrics search a database and none
// is named, or the other way round; if an option of retrieval comes without one; and if fewer items
// are in the database than are looked at.
std::optional<Retrieval> load_retrieval(const OptionTable& options,
                                        const RetrievalOptions& retrieval,
                                        std::span<const Metric> metrics, const ExampleOptions& data,
                                        const OpenedModel& opened,
                                        const std::filesystem::path& store, Dtype dtype);

// What is done about queries that lie in the database, where each finds itself.
enum class QueriesInDatabase : std::uint8_t {
  kNoted,
  kRefused,  // Error: every submodel finds them, so they choose none
};

// Makes the examples queries of the database, and notes those that have no match in it.
void make_queries(Examples& examples, const Retrieval& retrieval, QueriesInDatabase in_database);

// Encodes the database, with a bar, if the full model encodes it. Error if each submodel does and
// weights are streamed. Call it before a run begins.
void encode_with_bar(Scorer& scorer, const ScoreOptions& score, const InterruptGuard& guard);

}  // namespace mnm
