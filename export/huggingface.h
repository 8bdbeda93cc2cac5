// The writer of directories of safetensors: for transformers, and for others that load such a
// directory by its config.json.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/file.h"
#include "export/companion_files.h"
#include "export/shards.h"
#include "export/stacked_tensor.h"
#include "export/target.h"
#include "extract/extract.h"
#include "model/checkpoint.h"
#include "model/nested_model.h"
#include "model/slice_plan.h"

namespace mnm {

// A tensor of the files, and the tensors of the slice plan that it is made of, as their places
// there.
struct WrittenTensor {
  std::string name;
  std::vector<std::size_t> slices;  // one below the other
};

// Everything that will be written, known before the first byte. --dry-run prints it.
struct HuggingFacePlan {
  SlicePlan slices;  // refers to the model's table, and to other_parts
  Dtype dtype = Dtype::kBF16;
  // Tensors that are carried as they are and in the type that they have, after those of the table.
  std::shared_ptr<const TensorTable> other_parts;
  std::vector<WrittenTensor> written;           // in the files' order
  std::map<std::string, std::string> metadata;  // of every safetensors file
  std::vector<Shard> shards;                    // what `written` is divided into
  std::map<std::string, std::string> texts;     // config.json, the bridge, index: name -> content
  std::vector<CarriedFile> carried;  // tokenizer and generation files, copied as they are; by name
  std::uint64_t bytes = 0;           // of all files

  std::map<std::string, std::uint64_t> files() const;  // name -> bytes
};

struct HuggingFaceOptions {
  Dtype dtype = Dtype::kBF16;
  std::uint64_t shard_bytes = 5'000'000'000;    // of tensors; a larger tensor has its own shard
  std::map<std::string, std::string> metadata;  // widths, fingerprint...; {"format": "pt"} is added
  // Tensors of the checkpoint that no table has, and that are carried byte for byte.
  std::vector<const StoredTensor*> other_parts = {};
  // What the files hold, each tensor of the submodel once; empty: each as it is, under its name.
  std::vector<StackedTensor> layout = {};
  Carry carry = Carry::kAll;
};

// Plans the directory. `texts` are config.json and the bridge, which the family makes
// (Family::huggingface_config and huggingface_bridge). A text replaces a copied file of its name.
// UsageError if the space refuses the widths. Error if the layout has not each tensor once.
HuggingFacePlan plan_huggingface(const NestedModel& model, const Checkpoint& checkpoint,
                                 const Widths& widths, std::map<std::string, std::string> texts,
                                 const HuggingFaceOptions& options);
// Plans the directory of a model without a checkpoint: no files are copied. `checkpoint` is the one
// that the tensors come from, if any. Tensors that keep their type then have the same place within
// a page as in the checkpoint.
HuggingFacePlan plan_huggingface(const NestedModel& model, const Widths& widths,
                                 std::map<std::string, std::string> texts,
                                 const HuggingFaceOptions& options,
                                 const Checkpoint* checkpoint = nullptr);

// Writes the plan's files into an existing directory (an AtomicDirectory's path()). Checks the
// space on the target before the first byte, and after the last byte that the checkpoint has not
// changed. Progress counts to plan.bytes. The same input gives the same bytes.
//
// With kToKernel the kernel flushes the files later, as with cp; waiting for the disk takes as long
// again as copying. kToDisk waits. It is for exports that must survive a power cut right after.
void write_huggingface(const HuggingFacePlan& plan, const Checkpoint& checkpoint,
                       const std::filesystem::path& directory, const ProgressSink& progress = {},
                       Flush flush = Flush::kToKernel);

// The plan behind the interface of every format. `format`: the name of this variant of the layout,
// a literal. `loading`: what a user types to load the result, with {} where its path stands as a
// literal of Python.
std::unique_ptr<PlannedExport> safetensors_export(HuggingFacePlan plan, std::string_view format,
                                                  std::string loading,
                                                  RuntimeFunction in_runtimes = {});

// The same for transformers. `trust_remote_code`: whether the bridge is among the plan's texts, in
// which case a user must say that they trust it. `auto_class`: transformers' class that loads it.
std::unique_ptr<PlannedExport> huggingface_export(HuggingFacePlan plan, bool trust_remote_code,
                                                  std::string_view format = "huggingface",
                                                  std::string auto_class = "AutoModelForCausalLM");

}  // namespace mnm
