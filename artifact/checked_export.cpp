#include "artifact/checked_export.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "artifact/fixed_biases.h"
#include "export/check.h"
#include "model/own_files.h"

namespace mnm {
namespace {

// What a row of the store keeps of a check.
std::string check_text(const CheckedExport& written) {
  nlohmann::json check = {{"tensors_equal", true}};
  if (written.difference) {
    check = {{"tensors_equal", true},
             {fmt::format("probe_{}", words_of(written.probe->inputs.each.type).kind),
              written.probe->outputs()},
             {"layers_run", written.layers},
             {"worst_logit_difference", written.difference->worst},
             {"tolerance", written.probe->tolerance},
             {"operand_tolerance", written.probe->operand_tolerance},
             {"moved", written.probe->moved},
             {"position", written.difference->position},
             {"word", written.difference->word}};
  }
  return check.dump();
}

}  // namespace

std::size_t checked_layers(const OpenedModel& nested, const PlannedExport& plan,
                           const CheckOptions& options) {
  return options.values ? layers_to_run(nested, plan, options.layers, options.device) : 0;
}

Probe probe_outline(const OpenedModel& nested, const PlannedExport& plan) {
  Probe probe;
  probe.widths = to_string(plan.slices().widths);
  probe.fingerprint = nested.checkpoint.fingerprint();
  probe.vocab_size = nested.model.vocab_size;
  probe.inputs = probe_inputs(nested.model);
  return probe;
}

CheckedExport write_checked(const OpenedModel& nested, const PlannedExport& plan,
                            const std::filesystem::path& target, const CheckOptions& options,
                            const AtomicDirectory::Replaceable& replaceable,
                            const ProgressSink& progress, const OpenWritten& open_written) {
  require_fixed_biases(nested.model, plan.slices().widths);
  DeviceOptions device = options.device;
  device.dtype = Dtype::kF32;
  // First of all: what cannot be written is not worth computing a probe for.
  AtomicDirectory directory(target, replaceable);
  require_space(plan.bytes(), directory.path());
  CheckedExport done;
  done.layers = checked_layers(nested, plan, options);
  if (done.layers > 0) done.probe = make_probe(nested, plan, done.layers, device);

  plan.write(nested.checkpoint, directory.path(), progress);
  done.bytes = plan.bytes();
  // What a runtime computes is of all layers: a probe of some would condemn it.
  if (done.probe && done.layers == nested.model.layers()) {
    done.probe->artifact = plan.fingerprint(directory.path());
    write_probe(*done.probe, directory.path() / kProbeFile);
    done.bytes += std::filesystem::file_size(directory.path() / kProbeFile);
  }
  plan.check_layout(directory.path());
  if (options.values) {
    const OpenedModel written = reopen_export(plan, directory.path());
    check_written_tensors(nested.checkpoint, plan, written.checkpoint);
    if (done.probe) {
      std::optional<OpenedModel> other;
      if (open_written) other.emplace(open_written(directory.path()));
      done.difference =
          check_written_logits(*done.probe, plan, other ? *other : written, done.layers, device);
    }
  }
  write_own_files_list(directory.path());
  done.bytes += std::filesystem::file_size(directory.path() / kOwnFilesList);
  const auto bytes = static_cast<double>(plan.bytes());
  if (progress && !progress({bytes, bytes})) throw Stopped();
  directory.commit(Flush::kToKernel);  // as its files: a power cut may take both
  done.checked_values = options.values;
  return done;
}

Store::Artifact artifact_row(const PlannedExport& plan, const CheckedExport& written,
                             const std::filesystem::path& target, std::int64_t model,
                             const std::optional<Record>& record) {
  Store::Artifact row;
  row.model = model;
  if (record) row.record = record->id;
  row.widths = plan.slices().widths;
  row.format = plan.format();
  row.path = std::filesystem::absolute(target).lexically_normal().string();
  const bool known = written.probe && !written.probe->artifact.empty();
  row.fingerprint = known ? written.probe->artifact : plan.fingerprint(target);
  row.bytes = static_cast<std::int64_t>(written.bytes);
  if (written.checked_values) row.check = check_text(written);
  return row;
}

}  // namespace mnm
