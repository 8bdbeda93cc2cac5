#include "artifact/formats.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "export/gguf.h"
#include "export/huggingface.h"
#include "export/onnx.h"
#include "model/error.h"

namespace mnm {
namespace {

constexpr std::string_view kBlockConfigsFormat = "decilm";

using Plan = std::unique_ptr<PlannedExport> (*)(const OpenedModel&, const Widths&,
                                                const nlohmann::json&, const ExportOptions&);

HuggingFaceTexts own_layout(const OpenedModel& nested, const Widths& widths, Dtype dtype) {
  return {nested.family->huggingface_config(nested.model, widths, dtype),
          nested.family->huggingface_bridge(nested.model, widths)};
}
HuggingFaceTexts block_configs(const OpenedModel& nested, const Widths& widths, Dtype dtype) {
  return nested.family->block_configs(nested.model, widths, dtype);
}

// Of formats that have no other types than checkpoints have.
Dtype dtype_of(const OpenedModel& nested, const ExportOptions& options) {
  if (options.dtype.empty()) return nested.model.dtype;
  if (options.dtype == to_string(GgufType::kQ8_0)) {
    fail_usage("cannot write {} with --format {}: gguf alone has it", options.dtype,
               options.format);
  }
  return parse_dtype(options.dtype);
}

using Layout = HuggingFaceTexts (*)(const OpenedModel&, const Widths&, Dtype);

template <Layout kLayout>
std::unique_ptr<PlannedExport> plan_huggingface_export(const OpenedModel& nested,
                                                       const Widths& widths,
                                                       const nlohmann::json& provenance,
                                                       const ExportOptions& options) {
  nested.model.space.require(widths);
  HuggingFaceOptions settings;
  settings.dtype = dtype_of(nested, options);
  settings.shard_bytes = options.shard_bytes;
  settings.metadata = {{"mixnmatch_widths", to_string(widths)},
                       {"mixnmatch_source", nested.checkpoint.fingerprint()}};
  auto [config, texts] = kLayout(nested, widths, settings.dtype);
  const bool bridged = !texts.empty();
  config["mixnmatch"] = provenance;
  texts["config.json"] = config.dump(2) + "\n";
  return huggingface_export(
      plan_huggingface(nested.model, nested.checkpoint, widths, std::move(texts), settings),
      bridged, kLayout == block_configs ? kBlockConfigsFormat : "huggingface");
}

std::unique_ptr<PlannedExport> plan_gguf_export(const OpenedModel& nested, const Widths& widths,
                                                const nlohmann::json& provenance,
                                                const ExportOptions& options) {
  GgufOptions settings;
  settings.type = parse_gguf_type(options.dtype.empty() ? to_string(nested.model.dtype)
                                                        : std::string_view(options.dtype));
  settings.metadata = {{"mixnmatch.widths", to_string(widths)},
                       {"mixnmatch.source", nested.checkpoint.fingerprint()},
                       {"mixnmatch.provenance", provenance.dump()}};
  return plan_gguf(nested.model, nested.checkpoint, widths,
                   nested.family->gguf(nested.model, widths),
                   nested.family->huggingface_config(nested.model, widths, Dtype::kF32), settings);
}

std::unique_ptr<PlannedExport> plan_onnx_export(const OpenedModel& nested, const Widths& widths,
                                                const nlohmann::json& provenance,
                                                const ExportOptions& options) {
  OnnxOptions settings;
  settings.dtype = dtype_of(nested, options);
  settings.metadata = {{"mixnmatch.widths", to_string(widths)},
                       {"mixnmatch.source", nested.checkpoint.fingerprint()},
                       {"mixnmatch.provenance", provenance.dump()}};
  return plan_onnx(nested.model, nested.checkpoint, widths,
                   nested.family->onnx(nested.model, widths, settings.dtype),
                   nested.family->huggingface_config(nested.model, widths, settings.dtype),
                   settings);
}

constexpr std::pair<std::string_view, Plan> kFormats[] = {
    {"huggingface", plan_huggingface_export<own_layout>},
    {kBlockConfigsFormat, plan_huggingface_export<block_configs>},
    {"gguf", plan_gguf_export},
    {"onnx", plan_onnx_export},
};

}  // namespace

std::span<const std::string_view> export_formats() {
  static const std::vector<std::string_view> names = [] {
    std::vector<std::string_view> all;
    for (const auto& [name, plan] : kFormats) all.push_back(name);
    return all;
  }();
  return names;
}

std::unique_ptr<PlannedExport> plan_export(const OpenedModel& nested, const Widths& widths,
                                           const nlohmann::json& provenance,
                                           const ExportOptions& options) {
  const auto* format =
      std::ranges::find(kFormats, options.format, &std::pair<std::string_view, Plan>::first);
  if (format == std::end(kFormats)) fail_usage("no export format is called '{}'", options.format);
  return format->second(nested, widths, provenance, options);
}

}  // namespace mnm
