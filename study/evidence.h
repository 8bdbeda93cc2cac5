// What a store holds and what follows from it, as the data of the page that `mixnmatch report`
// writes (report/html.h).
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "db/store.h"

namespace mnm {

// The page holds the values per example of the front's members and of the uniform granularities.
// The cheapest come first, and as many are taken as fit into this number of bytes.
inline constexpr std::size_t kExampleBytes = std::size_t{16} << 20;

// For every model, dataset and dtype that passes the query's filters:
//
// - the costs and scores of all records;
// - the front, with its statistics (study/front_statistics.h);
// - the sensitivity of each layer, if it was scored;
// - the runs that made the records.
//
// `db` is the name of the store in the commands that the page shows.
nlohmann::ordered_json evidence(const Store& store, const FrontQuery& query, const std::string& db);

}  // namespace mnm
