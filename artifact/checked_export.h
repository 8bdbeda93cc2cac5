// From a planned export to a directory that is whole, checked and carries its probe, or to nothing:
// what is written appears under its name once every check has passed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>

#include "artifact/check.h"
#include "db/store.h"
#include "export/probe.h"
#include "export/target.h"
#include "families/open_model.h"
#include "model/files.h"
#include "model/progress.h"

namespace mnm {

struct CheckOptions {
  bool values = true;       // false: names, shapes and types alone, which needs no LibTorch
  std::int64_t layers = 0;  // that are run, from the first one on; 0: as layers_to_run says
  DeviceOptions device{};   // that runs them, in f32
};

struct CheckedExport {
  std::uint64_t bytes = 0;               // of all files, the probe among them
  bool checked_values = false;           // every tensor is its slice, bit for bit
  std::size_t layers = 0;                // that were run; 0: none
  std::optional<Probe> probe;            // where layers were run
  std::optional<Difference> difference;  // of what was written to the probe
};

// How many first layers the check would run; 0: none.
std::size_t checked_layers(const OpenedModel& nested, const PlannedExport& plan,
                           const CheckOptions& options);

// The probe that would lie beside the export, without its logits: what it weighs can be told.
Probe probe_outline(const OpenedModel& nested, const PlannedExport& plan);

// Writes `plan` to `target`, where `replaceable` says what may lie there already. Error where a
// check fails: then nothing is there. Throws Stopped when `progress`, which counts bytes and is
// asked once more at the end, says so.
CheckedExport write_checked(const OpenedModel& nested, const PlannedExport& plan,
                            const std::filesystem::path& target, const CheckOptions& options = {},
                            const AtomicDirectory::Replaceable& replaceable = {},
                            const ProgressSink& progress = {});

// The row of the store that such an export is kept as. `record`: what it is an export of.
Store::Artifact artifact_row(const PlannedExport& plan, const CheckedExport& written,
                             const std::filesystem::path& target, std::int64_t model,
                             const std::optional<Record>& record = {});

}  // namespace mnm
