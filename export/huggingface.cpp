#include "export/huggingface.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "export/probe.h"
#include "model/error.h"
#include "model/files.h"

namespace mnm {
namespace {

namespace fs = std::filesystem;

constexpr const char* kIndex = "model.safetensors.index.json";

std::vector<Shard> plan_shards(const SlicePlan& slices, Dtype dtype, std::uint64_t shard_bytes,
                               const std::map<std::string, std::string>& metadata) {
  std::vector<Shard> shards(1);
  std::uint64_t tensor_bytes = 0;
  for (std::size_t i = 0; i < slices.tensors.size(); ++i) {
    const TensorSlice& slice = slices.tensors[i];
    const std::uint64_t bytes = static_cast<std::uint64_t>(slice.elements()) * size_of(dtype);
    if (tensor_bytes + bytes > shard_bytes && !shards.back().tensors.empty()) {
      shards.emplace_back();
      tensor_bytes = 0;
    }
    tensor_bytes += bytes;
    shards.back().slices.push_back(i);
    shards.back().tensors.push_back(
        {.name = slice.spec->name, .dtype = dtype, .shape = slice.shape, .begin = 0, .end = 0});
  }
  for (std::size_t i = 0; i < shards.size(); ++i) {
    Shard& shard = shards[i];
    shard.file = shards.size() == 1
                     ? "model.safetensors"
                     : fmt::format("model-{:05}-of-{:05}.safetensors", i + 1, shards.size());
    shard.bytes = safetensors_head(shard.tensors, metadata).size();
    if (!shard.tensors.empty()) shard.bytes += shard.tensors.back().end;
  }
  return shards;
}

std::string index_text(const std::vector<Shard>& shards, Dtype dtype) {
  nlohmann::json weight_map = nlohmann::json::object();
  std::uint64_t bytes = 0;
  for (const Shard& shard : shards) {
    bytes += shard.tensors.back().end;
    for (const TensorEntry& tensor : shard.tensors) weight_map[tensor.name] = shard.file;
  }
  const nlohmann::json index = {
      {"metadata", {{"total_parameters", bytes / size_of(dtype)}, {"total_size", bytes}}},
      {"weight_map", std::move(weight_map)}};
  return index.dump(2) + "\n";
}

void write_shard(const HuggingFacePlan& plan, const Shard& shard, Extractor& extractor,
                 const fs::path& directory, const ByteProgress& progress, Flush flush) {
  OutputFile out(directory / shard.file);
  std::vector<TensorEntry> tensors = shard.tensors;
  const std::string head = safetensors_head(tensors, plan.metadata);
  out.write(head);
  if (progress && !progress(head.size())) throw Stopped();
  for (std::size_t i : shard.slices) {
    extractor.append(plan.slices.tensors[i], plan.dtype, out, progress);
  }
  if (out.position() != shard.bytes) {
    fail("cannot write '{}': {} bytes came out, where {} were planned", out.path().string(),
         out.position(), shard.bytes);
  }
  out.close(flush);
}

class HuggingFaceExport final : public PlannedExport {
 public:
  HuggingFaceExport(HuggingFacePlan plan, bool trust_remote_code)
      : PlannedExport(plan.slices), plan_(std::move(plan)), trust_(trust_remote_code) {}

  std::string_view format() const override { return "huggingface"; }
  std::string_view dtype() const override { return to_string(plan_.dtype); }
  std::map<std::string, std::uint64_t> files() const override { return plan_.files(); }

  void write(const Checkpoint& checkpoint, const fs::path& directory, const ByteProgress& progress,
             Flush flush) const override {
    write_huggingface(plan_, checkpoint, directory, progress, flush);
  }
  Checkpoint reopen(const fs::path& directory) const override {
    return Checkpoint::open(directory);
  }

  void round(const TensorSlice&, std::span<float> values) const override {
    std::vector<std::byte> rounded(values.size() * size_of(plan_.dtype));
    from_f32(values, plan_.dtype, rounded);
    to_f32(rounded, plan_.dtype, values);
  }
  Rounding rounding(const Checkpoint& checkpoint) const override {
    Rounding rounding{0, plan_.dtype};
    for (const TensorSlice& slice : plan_.slices.tensors) {
      const Dtype stored = checkpoint.at(slice.spec->name).dtype;
      rounding.relative = std::max(rounding.relative, roundoff(stored, plan_.dtype));
    }
    return rounding;
  }

  // An export is a checkpoint, and is known as one.
  std::string fingerprint(const fs::path& directory) const override {
    return Checkpoint::open(directory).fingerprint();
  }

  std::string loading(const fs::path& directory) const override {
    return fmt::format(
        "from transformers import AutoModelForCausalLM\n"
        "model = AutoModelForCausalLM.from_pretrained({}{})\n"
        "print(model.num_parameters())\n",
        python_literal(directory), trust_ ? ", trust_remote_code=True" : "");
  }

 private:
  HuggingFacePlan plan_;
  bool trust_;
};

}  // namespace

std::map<std::string, std::uint64_t> HuggingFacePlan::files() const {
  std::map<std::string, std::uint64_t> files;
  for (const Shard& shard : shards) files[shard.file] = shard.bytes;
  for (const auto& [name, content] : texts) files[name] = content.size();
  for (const CarriedFile& file : carried) files[file.name] = file.bytes;
  return files;
}

HuggingFacePlan plan_huggingface(const NestedModel& model, const Checkpoint& checkpoint,
                                 const Widths& widths, std::map<std::string, std::string> texts,
                                 const HuggingFaceOptions& options) {
  model.space.require(widths);
  HuggingFacePlan plan;
  plan.slices = plan_slices(model.table, widths);
  plan.dtype = options.dtype;
  plan.metadata = options.metadata;
  plan.metadata["format"] = "pt";  // transformers refuses files that do not say so
  plan.shards = plan_shards(plan.slices, plan.dtype, options.shard_bytes, plan.metadata);
  plan.texts = std::move(texts);
  if (plan.shards.size() > 1) plan.texts[kIndex] = index_text(plan.shards, plan.dtype);
  for (CarriedFile& file : carried_files(checkpoint.directory())) {
    if (!plan.texts.contains(file.name)) plan.carried.push_back(std::move(file));
  }
  for (const auto& [name, bytes] : plan.files()) plan.bytes += bytes;
  return plan;
}

void write_huggingface(const HuggingFacePlan& plan, const Checkpoint& checkpoint,
                       const fs::path& directory, const ByteProgress& progress, Flush flush) {
  require_space(plan.bytes, directory);
  for (const auto& [name, content] : plan.texts) {
    OutputFile out(directory / name);
    out.write(content);
    out.close(flush);
    if (progress && !progress(content.size())) throw Stopped();
  }
  copy_carried(plan.carried, checkpoint.directory(), directory, progress, flush);
  Extractor extractor(checkpoint);
  for (const Shard& shard : plan.shards) {
    write_shard(plan, shard, extractor, directory, progress, flush);
  }
  extractor.check_unchanged();
}

std::unique_ptr<PlannedExport> huggingface_export(HuggingFacePlan plan, bool trust_remote_code) {
  return std::make_unique<HuggingFaceExport>(std::move(plan), trust_remote_code);
}

}  // namespace mnm
