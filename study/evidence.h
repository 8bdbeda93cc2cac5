// What a store proves, as data for the page of evidence (report/page.h).
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "db/store.h"

namespace mnm {

// Values per example are in the page for the front's members and the uniform granularities, the
// cheapest first, as long as they take less than this in all.
inline constexpr std::size_t kExampleBytes = std::size_t{16} << 20;

// Of every model, dataset and dtype that passes the query's filters: all records' costs and
// scores, the front with what study/front_statistics.h says of it, each layer's sensitivity where
// it was scored, and the runs behind them. `db`: what the store is called in commands.
nlohmann::ordered_json evidence(const Store& store, const FrontQuery& query, const std::string& db);

}  // namespace mnm
