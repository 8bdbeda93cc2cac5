// The Hugging Face writer: a directory that transformers loads.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "export/companion_files.h"
#include "export/shards.h"
#include "export/target.h"
#include "extract/extract.h"
#include "model/checkpoint.h"
#include "model/files.h"
#include "model/nested_model.h"
#include "model/slice_plan.h"

namespace mnm {

// Everything that will be written, known before the first byte: what --dry-run prints.
struct HuggingFacePlan {
  SlicePlan slices;  // refers to the model's table
  Dtype dtype = Dtype::kBF16;
  std::map<std::string, std::string> metadata;  // of every safetensors file
  std::vector<Shard> shards;
  std::map<std::string, std::string> texts;  // config.json, the bridge, index: name -> content
  std::vector<CarriedFile> carried;  // tokenizer and generation files, copied as they are; by name
  std::uint64_t bytes = 0;           // of all files

  std::map<std::string, std::uint64_t> files() const;  // name -> bytes
};

struct HuggingFaceOptions {
  Dtype dtype = Dtype::kBF16;
  std::uint64_t shard_bytes = 5'000'000'000;    // of tensors; a larger tensor has its own shard
  std::map<std::string, std::string> metadata;  // widths, fingerprint...; {"format": "pt"} is added
};

// `texts`: config.json and the bridge, which the family makes (Family::huggingface_config,
// ..._bridge). A text takes the place of a carried file of its name. UsageError where the space
// refuses the widths.
HuggingFacePlan plan_huggingface(const NestedModel& model, const Checkpoint& checkpoint,
                                 const Widths& widths, std::map<std::string, std::string> texts,
                                 const HuggingFaceOptions& options);
// Of a model that has no checkpoint yet: nothing is carried along. `checkpoint`: the one that the
// tensors come from, if any; where their type is its own, they lie in pages as they do there.
HuggingFacePlan plan_huggingface(const NestedModel& model, const Widths& widths,
                                 std::map<std::string, std::string> texts,
                                 const HuggingFaceOptions& options,
                                 const Checkpoint* checkpoint = nullptr);

// Writes the plan's files into an existing directory (an AtomicDirectory's path()). Checks the
// space on the target before the first byte, and after the last that the checkpoint is still the
// one that was read. Progress counts to plan.bytes. Same input, same bytes.
//
// The files are left to the kernel to flush, as cp does: to wait for the disk takes as long again
// as to copy. kToDisk waits, for exports that must survive a power cut right after.
void write_huggingface(const HuggingFacePlan& plan, const Checkpoint& checkpoint,
                       const std::filesystem::path& directory, const ByteProgress& progress = {},
                       Flush flush = Flush::kToKernel);

// The plan behind the interface of every format. `trust_remote_code`: whether the bridge is among
// the plan's texts, so that a user must say so. `format`: the name of this layout of it, a literal.
std::unique_ptr<PlannedExport> huggingface_export(HuggingFacePlan plan, bool trust_remote_code,
                                                  std::string_view format = "huggingface");

}  // namespace mnm
