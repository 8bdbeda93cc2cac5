// Which runtimes load a submodel, why not where they do not, and what lies near by that they load.
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
  // A line per runtime, format and dtypes: whether it loads them, as what or why not, and whether
  // that was run or read.
  Table runtimes;
  // The nearest widths that those load which do not load these, with their cost and, where the
  // store has both on the same sequences, the loss beside the loss of these.
  Table detours;
};

// What the store knows: its scores of one model.
struct KnownScores {
  const Store* store = nullptr;
  std::int64_t model = 0;
};

// `runtime`: of this one alone; empty: of all. UsageError, with the runtimes there are, where the
// model has no rule of that name. Planning tells what the writers refuse: nothing is written.
Explanation explain(const OpenedModel& nested, const Widths& widths, const std::string& runtime,
                    const ExportOptions& options, const CostBasis& basis,
                    const std::optional<KnownScores>& scores);

}  // namespace mnm
