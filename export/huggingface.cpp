#include "export/huggingface.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <string_view>
#include <utility>

#include "model/error.h"
#include "model/files.h"

namespace mnm {
namespace {

namespace fs = std::filesystem;

constexpr const char* kIndex = "model.safetensors.index.json";

// What transformers reads beside config.json and weights, and what the weights' licence asks to
// go with them. A `*` stands at the beginning or end only.
constexpr std::string_view kCarried[] = {
    "tokenizer*",
    "tokenization_*",
    "special_tokens_map.json",
    "added_tokens*",
    "vocab.*",
    "merges.txt",
    "spiece.model",
    "sentencepiece*",
    "chat_template*",
    "*.jinja",
    "generation_config.json",
    "preprocessor_config.json",
    "LICENSE*",
    "LICENCE*",
    "COPYING*",
    "NOTICE*",
    "USE_POLICY*",
};

bool matches(std::string_view name, std::string_view pattern) {
  if (pattern.starts_with('*')) return name.ends_with(pattern.substr(1));
  if (pattern.ends_with('*')) return name.starts_with(pattern.substr(0, pattern.size() - 1));
  return name == pattern;
}

std::vector<CarriedFile> carried_files(const fs::path& directory,
                                       const std::map<std::string, std::string>& texts) {
  std::vector<CarriedFile> files;
  for (const fs::directory_entry& entry : fs::directory_iterator(directory)) {
    const std::string name = entry.path().filename().string();
    const bool wanted = std::ranges::any_of(
        kCarried, [&](std::string_view pattern) { return matches(name, pattern); });
    // A link counts as what it names: the download cache of Hugging Face is made of them.
    if (!wanted || texts.contains(name) || !entry.is_regular_file()) continue;
    files.push_back({name, entry.file_size()});
  }
  std::ranges::sort(files, {}, &CarriedFile::name);
  return files;
}

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

void check_space(const HuggingFacePlan& plan, const fs::path& directory) {
  const std::uint64_t free = free_bytes(directory);
  if (free >= plan.bytes) return;
  fail("cannot write the submodel to '{}': it takes {} bytes, and {} are free there",
       directory.parent_path().string(), plan.bytes, free);
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
  plan.carried = carried_files(checkpoint.directory(), plan.texts);
  for (const auto& [name, bytes] : plan.files()) plan.bytes += bytes;
  return plan;
}

void write_huggingface(const HuggingFacePlan& plan, const Checkpoint& checkpoint,
                       const fs::path& directory, const ByteProgress& progress, Flush flush) {
  check_space(plan, directory);
  for (const auto& [name, content] : plan.texts) {
    OutputFile out(directory / name);
    out.write(content);
    out.close(flush);
    if (progress && !progress(content.size())) throw Stopped();
  }
  for (const CarriedFile& file : plan.carried) {
    const SourceFile source(checkpoint.directory() / file.name);
    OutputFile out(directory / file.name);
    source.copy_to(out, 0, file.bytes, progress);
    out.close(flush);
    source.check_unchanged();
    if (source.size() != file.bytes) {
      fail("cannot copy '{}': it has {} bytes now, and had {} before", source.path().string(),
           source.size(), file.bytes);
    }
  }
  Extractor extractor(checkpoint);
  for (const Shard& shard : plan.shards) {
    write_shard(plan, shard, extractor, directory, progress, flush);
  }
  extractor.check_unchanged();
}

}  // namespace mnm
