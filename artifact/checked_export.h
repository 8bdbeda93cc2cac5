// Writes a planned export, checks it, and puts its probe beside it. The directory gets its name
// only when every check has passed. So under that name there is a whole export or nothing.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>

#include "artifact/export_check.h"
#include "base/file.h"
#include "base/progress.h"
#include "db/store.h"
#include "export/probe.h"
#include "export/target.h"
#include "families/open_model.h"

namespace mnm {

struct CheckOptions {
  // False: only names, shapes and types are checked, which needs no LibTorch.
  bool values = true;
  std::int64_t layers = 0;  // how many of the first layers are run; 0: as layers_to_run says
  DeviceOptions device{};   // on which they are run, in f32
};

struct CheckedExport {
  std::uint64_t bytes = 0;      // of all files, with the probe and the list
  bool checked_values = false;  // whether every tensor was compared with its slice, and was equal
  std::size_t layers = 0;       // how many layers were run
  std::optional<Probe> probe;   // if layers were run
  std::optional<Difference> difference;  // between the logits of what was written and the probe
};

// How many of the first layers the check would run.
std::size_t checked_layers(const OpenedModel& nested, const PlannedExport& plan,
                           const CheckOptions& options);

// The probe that would lie beside the export, without its logits. It is enough to tell its size.
Probe probe_outline(const OpenedModel& nested, const PlannedExport& plan);

// Opens what was written, for the comparison of logits.
using OpenWritten = std::function<OpenedModel(const std::filesystem::path& directory)>;

// Writes `plan` to `target`. `replaceable` says what may be there already and is replaced. If a
// check fails, it throws an Error and leaves `target` as it was. Of a compensated model, `nested`
// and the plan are of FixedBiases. `progress` counts bytes, and is called once more at the end; if
// it says stop, this throws Stopped. Without `open_written`, logits are compared as the plan reads
// its files back.
CheckedExport write_checked(const OpenedModel& nested, const PlannedExport& plan,
                            const std::filesystem::path& target, const CheckOptions& options = {},
                            const AtomicDirectory::Replaceable& replaceable = {},
                            const ProgressSink& progress = {},
                            const OpenWritten& open_written = {});

// The row of the store for such an export. `record`: the record of the submodel, if there is one.
Store::Artifact artifact_row(const PlannedExport& plan, const CheckedExport& written,
                             const std::filesystem::path& target, std::int64_t model,
                             const std::optional<Record>& record = {});

}  // namespace mnm
