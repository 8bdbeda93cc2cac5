// What an export says of itself under the key "mixnmatch": what it was cut from, what it costs, and
// how it was scored.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>

#include "db/store.h"
#include "families/open_model.h"
#include "model/cost.h"

namespace mnm {

// What the costs of an export are counted at: its dtype, and the default context, or the model's
// longest where that is shorter.
CostBasis export_basis(const NestedModel& model, Dtype dtype);

// `quoted`: a record of `store`, whose score is told. Without one nothing is said of scores.
nlohmann::json provenance(const OpenedModel& opened, const Widths& widths, Dtype dtype,
                          const std::optional<Record>& quoted = {}, const Store* store = nullptr);

}  // namespace mnm
