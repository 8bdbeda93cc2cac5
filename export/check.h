// The first half of the check of an export: its tensors are the slices of the nested checkpoint.
// The second half, that it computes the same logits, needs an engine: artifact/export_check.h.
#pragma once

#include "export/target.h"
#include "model/checkpoint.h"

namespace mnm {

// Checks every written tensor: as numbers, it must equal its slice of the nested checkpoint,
// rounded as the plan says. Tensors are compared piece by piece, in memory that does not grow with
// them. Error names the first tensor that differs.
void check_written_tensors(const Checkpoint& nested, const PlannedExport& plan,
                           const Checkpoint& written);

}  // namespace mnm
