#include "artifact/formats.h"

#include <algorithm>
#include <filesystem>
#include <limits>
#include <optional>
#include <utility>
#include <variant>
#include <vector>

#include "base/error.h"
#include "export/gguf_writer.h"
#include "export/huggingface.h"
#include "export/onnx_writer.h"
#include "image/preprocessor_config.h"

namespace mnm {
namespace {

// Of formats that have no other types than checkpoints have.
Dtype dtype_of(const OpenedModel& nested, const ExportOptions& options) {
  if (options.dtype.empty()) return nested.model.dtype;
  if (options.dtype == to_string(GgufType::kQ8_0)) {
    fail_usage("cannot write {} with --format {}: gguf alone has it", options.dtype,
               options.format);
  }
  return parse_dtype(options.dtype);
}

// What every writer is given.
struct Job {
  const OpenedModel& nested;
  const Widths& widths;
  const nlohmann::json& provenance;
  const ExportOptions& options;
  const Exporter& exporter;
};

// Of directories of safetensors.
HuggingFaceOptions directory_options(const Job& job, Dtype dtype) {
  HuggingFaceOptions settings;
  settings.dtype = dtype;
  settings.metadata = {{"mixnmatch_widths", to_string(job.widths)},
                       {"mixnmatch_source", job.nested.checkpoint.fingerprint()}};
  return settings;
}

std::unique_ptr<PlannedExport> planned(const Job& job, Dtype dtype, const NestedModel& submodel,
                                       HuggingFaceTexts stated) {
  HuggingFaceOptions settings = directory_options(job, dtype);
  settings.shard_bytes = job.options.shard_bytes;
  settings.other_parts = other_parts(*job.nested.family, job.nested.model, job.nested.checkpoint);
  if (job.options.per_layer_config) {
    stated = {job.nested.family->with_per_layer_config(submodel), {}, stated.auto_class};
  }
  auto& [config, texts, auto_class] = stated;
  const bool bridged = !texts.empty();
  const bool refused = config.contains("per_layer_config");  // by transformers' Llama, in 5.23
  config["mixnmatch"] = job.provenance;
  texts["config.json"] = config.dump(2) + "\n";
  HuggingFacePlan plan = plan_huggingface(job.nested.model, job.nested.checkpoint, job.widths,
                                          std::move(texts), settings);
  if (refused) {
    return safetensors_export(std::move(plan), job.exporter.format,
                              "# transformers 5.23 raises an error where per_layer_config stands, "
                              "and will not load {}\n");
  }
  return huggingface_export(std::move(plan), bridged, job.exporter.format, auto_class);
}

// In a directory of timm's there is one file of weights, and config.json has the rules for
// pictures.
constexpr const char* kLoadingInTimm =
    "import timm\n"
    "model = timm.create_model(\"local-dir:\" + {}, pretrained=True)\n"
    "print(sum(weight.numel() for weight in model.parameters()))\n";

std::unique_ptr<PlannedExport> planned(const Job& job, Dtype dtype, const NestedModel&,
                                       TimmModel stated) {
  HuggingFaceOptions settings = directory_options(job, dtype);
  settings.shard_bytes = std::numeric_limits<std::uint64_t>::max();
  settings.layout = std::move(stated.tensors);
  settings.carry = Carry::kLicence;
  const std::filesystem::path& source = job.nested.checkpoint.directory();
  const std::optional<Preprocessing> rules = read_preprocessing(source);
  stated.config["pretrained_cfg"] =
      rules ? pretrained_cfg_of(*rules, source.string()) : nlohmann::json::object();
  stated.config["mixnmatch"] = job.provenance;
  return safetensors_export(
      plan_huggingface(job.nested.model, job.nested.checkpoint, job.widths,
                       {{"config.json", stated.config.dump(2) + "\n"}}, settings),
      job.exporter.format, kLoadingInTimm, std::move(stated.in_timm));
}

// What a file says of itself, in formats that hold such pairs.
template <typename Metadata>
Metadata metadata_of(const Job& job) {
  return {{"mixnmatch.widths", to_string(job.widths)},
          {"mixnmatch.source", job.nested.checkpoint.fingerprint()},
          {"mixnmatch.provenance", job.provenance.dump()}};
}

std::unique_ptr<PlannedExport> planned(const Job& job, Dtype, const NestedModel& submodel,
                                       const GgufModel& stated) {
  GgufOptions settings;
  settings.type = parse_gguf_type(job.options.dtype.empty() ? to_string(job.nested.model.dtype)
                                                            : std::string_view(job.options.dtype));
  settings.tokenizer = !job.options.no_tokenizer;
  settings.metadata = metadata_of<GgufFields>(job);
  return plan_gguf(job.nested.model, job.nested.checkpoint, job.widths, stated, submodel.config,
                   settings);
}

std::unique_ptr<PlannedExport> planned(const Job& job, Dtype dtype, const NestedModel& submodel,
                                       const OnnxModel& stated) {
  OnnxOptions settings;
  settings.dtype = dtype;
  settings.metadata = metadata_of<OnnxMetadata>(job);
  return plan_onnx(job.nested.model, job.nested.checkpoint, job.widths, stated, submodel.config,
                   settings);
}

}  // namespace

std::span<const std::string_view> export_formats() {
  static const std::vector<std::string_view> names = [] {
    std::vector<std::string_view> all;
    for (const Family* family : families()) {
      for (const Exporter& exporter : family->exporters()) {
        const bool known = std::ranges::find(all, exporter.format) != all.end();
        if (!known) all.push_back(exporter.format);
      }
    }
    return all;
  }();
  return names;
}

std::unique_ptr<PlannedExport> plan_export(const OpenedModel& nested, const Widths& widths,
                                           const nlohmann::json& provenance,
                                           const ExportOptions& options) {
  const auto formats = export_formats();
  if (std::ranges::find(formats, options.format) == formats.end()) {
    fail_usage("no export format is called '{}'", options.format);
  }
  if (options.no_tokenizer && options.format != "gguf") {
    fail_usage("--no-tokenizer is of --format gguf: {} carries the tokenizer's files as they are",
               options.format);
  }
  if (options.per_layer_config && options.format != "huggingface") {
    fail_usage("--per-layer-config is of --format huggingface: {} says widths in its own way",
               options.format);
  }
  nested.model.space.require(widths);
  const Family& family = *nested.family;
  const Job job{nested, widths, provenance, options, family.exporter(options.format)};
  // gguf has types of its own, and its reader gives every tensor in one that a checkpoint has.
  const Dtype dtype = options.format == "gguf" ? Dtype::kF32 : dtype_of(nested, options);
  const NestedModel submodel = family.submodel(nested.model, widths, dtype);
  return std::visit([&](auto stated) { return planned(job, dtype, submodel, std::move(stated)); },
                    job.exporter.state(submodel, dtype));
}

bool format_holds(const OpenedModel& nested, const Widths& widths, const std::string& format) {
  try {
    nested.family->in_format(format, nested.model, widths, nested.model.dtype);
    return true;
  } catch (const Error&) {
    return false;
  }
}

}  // namespace mnm
