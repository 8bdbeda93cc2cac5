// Which runtimes load a submodel, why the others do not, and which similar submodels they load.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "artifact/formats.h"
#include "db/store.h"
#include "families/open_model.h"
#include "model/cost.h"
#include "model/widths.h"
#include "report/table.h"

namespace mnm {

struct Explanation {
  Widths widths;
  // A line per runtime, format and dtype: whether the runtime loads the submodel, as what or why
  // not, and whether this was run or read in its source.
  Table runtimes;
  // For the runtimes that do not load these widths, the nearest widths that they load, with their
  // cost. If the store has scores of both on the same sequences, also the loss beside the loss of
  // these widths.
  Table detours;
};

// What the store knows: its scores of one model.
struct KnownScores {
  const Store* store = nullptr;
  std::int64_t model = 0;
};

// `runtime`: explains this runtime only; empty: all. UsageError, with the list of runtimes, if the
// model has no rule of that name. Exports are planned to learn what the writers refuse; nothing is
// written.
Explanation explain(const OpenedModel& nested, const Widths& widths, const std::string& runtime,
                    const ExportOptions& options, const CostBasis& basis,
                    const std::optional<KnownScores>& scores);

// A line per runtime, format and dtype: which submodels of the model it takes, and as what, or why
// it takes no others, and whether this was run or read. These are the family's rules; no export is
// planned.
Table takers(const OpenedModel& nested);

}  // namespace mnm
