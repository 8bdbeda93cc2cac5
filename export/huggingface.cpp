#include "export/huggingface.h"

#include <algorithm>
#include <memory>
#include <set>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/files.h"
#include "export/probe.h"
#include "extract/copy_plan.h"
#include "extract/extract.h"
#include "model/shapes.h"

namespace mnm {
namespace {

namespace fs = std::filesystem;

constexpr unsigned kFilesAtOnce = 2;

bool is_carried(const HuggingFacePlan& plan, const TensorSlice& slice) {
  const TensorTable* const others = plan.other_parts.get();
  return others != nullptr && others->find(slice.spec->name) == slice.spec;
}

// The type that a tensor is written in.
Dtype dtype_of(const HuggingFacePlan& plan, const TensorSlice& slice,
               const Checkpoint* checkpoint) {
  return is_carried(plan, slice) ? checkpoint->at(slice.spec->name).dtype : plan.dtype;
}

std::vector<TensorEntry> entries_of(const HuggingFacePlan& plan, const Checkpoint* checkpoint) {
  std::vector<TensorEntry> entries;
  for (const TensorSlice& slice : plan.slices.tensors) {
    entries.push_back({.name = slice.name,
                       .dtype = dtype_of(plan, slice, checkpoint),
                       .shape = slice.shape,
                       .begin = 0,
                       .end = 0});
  }
  return entries;
}

// A table of tensors that are kept whole, in the checkpoint's order.
std::shared_ptr<const TensorTable> table_of(const std::vector<const StoredTensor*>& tensors) {
  auto table = std::make_shared<TensorTable>();
  for (const StoredTensor* tensor : tensors) {
    TensorSpec& spec = table->tensors.emplace_back();
    spec.name = tensor->name;
    spec.shape = tensor->shape;
  }
  return table;
}

// Where the tensors' first bytes lie in the checkpoint's files, where they are copied as they are.
std::vector<std::uint64_t> sources_of(const HuggingFacePlan& plan, const Checkpoint& checkpoint) {
  std::vector<std::uint64_t> sources;
  for (const TensorSlice& slice : plan.slices.tensors) {
    const StoredTensor& stored = checkpoint.at(slice.spec->name);
    const bool copied = stored.dtype == dtype_of(plan, slice, &checkpoint) && !stored.decode;
    const TensorCopy copy = copied ? plan_copy(slice, stored) : TensorCopy();
    sources.push_back(copy.kept.empty() ? 0 : copy.offset + copy.kept.front().begin);
  }
  return sources;
}

// Tensors whose pages are the checkpoint's own, which a file system may let both files have.
std::set<std::string> tensors_in_step(const HuggingFacePlan& plan, const Checkpoint& checkpoint) {
  std::set<std::string> in_step_names;
  for (const Shard& shard : plan.shards) {
    for (std::size_t i = 0; i < shard.tensors.size(); ++i) {
      const TensorSlice& slice = plan.slices.tensors[shard.first + i];
      const StoredTensor& stored = checkpoint.at(slice.spec->name);
      const TensorCopy copy = plan_copy(slice, stored);
      if (stored.dtype == dtype_of(plan, slice, &checkpoint) && copy.rows == 1 &&
          in_step(copy, shard.place + shard.tensors[i].begin)) {
        in_step_names.insert(stored.name);
      }
    }
  }
  return in_step_names;
}

class HuggingFaceExport final : public PlannedExport {
 public:
  HuggingFaceExport(HuggingFacePlan plan, bool trust_remote_code, std::string_view format,
                    std::string auto_class)
      : PlannedExport(plan.slices),
        plan_(std::move(plan)),
        trust_(trust_remote_code),
        format_(format),
        auto_class_(std::move(auto_class)) {}

  std::string_view format() const override { return format_; }
  std::string_view dtype() const override { return to_string(plan_.dtype); }
  std::map<std::string, std::uint64_t> files() const override { return plan_.files(); }

  void write(const Checkpoint& checkpoint, const fs::path& directory, const ProgressSink& progress,
             Flush flush) const override {
    write_huggingface(plan_, checkpoint, directory, progress, flush);
  }
  Checkpoint reopen(const fs::path& directory) const override {
    return Checkpoint::open(directory);
  }

  void check_layout(const fs::path& directory) const override {
    PlannedExport::check_layout(directory);
    const Checkpoint written = Checkpoint::open(directory);
    for (const TensorSlice& slice : slices().tensors) {
      const StoredTensor& tensor = written.at(slice.name);
      const bool carried = is_carried(plan_, slice);  // and compared with the checkpoint's later
      if (tensor.shape == slice.shape && (carried || tensor.dtype == plan_.dtype)) continue;
      fail("the export's tensor '{}' is {} of shape {}, planned was {} of shape {}", slice.name,
           to_string(tensor.dtype), shape_text(tensor.shape), to_string(plan_.dtype),
           shape_text(slice.shape));
    }
    if (written.tensors().size() != slices().tensors.size()) {
      fail("the export holds {} tensors, {} were planned", written.tensors().size(),
           slices().tensors.size());
    }
  }

  void round(const TensorSlice& slice, std::span<float> values) const override {
    if (is_carried(plan_, slice)) return;
    check_range(values, plan_.dtype, slice.name);
    std::vector<std::byte> rounded(values.size() * size_of(plan_.dtype));
    from_f32(values, plan_.dtype, rounded);
    to_f32(rounded, plan_.dtype, values);
  }
  bool rounds(const Checkpoint& checkpoint) const override {
    return std::ranges::any_of(plan_.slices.tensors, [&](const TensorSlice& slice) {
      return !is_carried(plan_, slice) &&
             roundoff(checkpoint.at(slice.spec->name).dtype, plan_.dtype) > 0;
    });
  }

  std::string loading(const fs::path& directory) const override {
    return fmt::format(
        "from transformers import {0}\n"
        "model = {0}.from_pretrained({1}{2})\n"
        "print(model.num_parameters())\n",
        auto_class_, python_literal(directory), trust_ ? ", trust_remote_code=True" : "");
  }

 private:
  HuggingFacePlan plan_;
  bool trust_;
  std::string_view format_;
  std::string auto_class_;
};

}  // namespace

std::map<std::string, std::uint64_t> HuggingFacePlan::files() const {
  std::map<std::string, std::uint64_t> files;
  for (const Shard& shard : shards) files[shard.file] = shard.bytes;
  for (const auto& [name, content] : texts) files[name] = content.size();
  for (const CarriedFile& file : carried) files[file.name] = file.bytes;
  return files;
}

HuggingFacePlan plan_huggingface(const NestedModel& model, const Widths& widths,
                                 std::map<std::string, std::string> texts,
                                 const HuggingFaceOptions& options, const Checkpoint* checkpoint) {
  model.space.require(widths);
  HuggingFacePlan plan;
  plan.slices = plan_slices(model.table, widths);
  plan.dtype = options.dtype;
  plan.metadata = options.metadata;
  plan.metadata["format"] = "pt";  // transformers refuses files that do not say so
  std::vector<std::uint64_t> sources;
  plan.other_parts = table_of(options.other_parts);
  for (const TensorSpec& spec : plan.other_parts->tensors) {
    plan.slices.tensors.push_back({&spec, spec.name, -1, {}, spec.shape});
  }
  if (checkpoint) sources = sources_of(plan, *checkpoint);
  plan.shards =
      plan_shards(entries_of(plan, checkpoint), options.shard_bytes, plan.metadata, sources);
  plan.texts = std::move(texts);
  if (plan.shards.size() > 1) plan.texts[kShardIndex] = index_text(plan.shards);
  for (const auto& [name, bytes] : plan.files()) plan.bytes += bytes;
  return plan;
}

HuggingFacePlan plan_huggingface(const NestedModel& model, const Checkpoint& checkpoint,
                                 const Widths& widths, std::map<std::string, std::string> texts,
                                 const HuggingFaceOptions& options) {
  HuggingFacePlan plan = plan_huggingface(model, widths, std::move(texts), options, &checkpoint);
  for (CarriedFile& file : carried_files(checkpoint.directory())) {
    if (plan.texts.contains(file.name)) continue;
    plan.bytes += file.bytes;
    plan.carried.push_back(std::move(file));
  }
  return plan;
}

void write_huggingface(const HuggingFacePlan& plan, const Checkpoint& checkpoint,
                       const fs::path& directory, const ProgressSink& progress, Flush flush) {
  require_space(plan.bytes, directory);
  Meter meter(progress, static_cast<double>(plan.bytes), kEveryStep);
  write_texts(plan.texts, directory, meter, flush);
  copy_carried(plan.carried, checkpoint.directory(), directory, meter, flush);
  // What can be shared is not read ahead: that would be to read it for nothing.
  std::set<std::string> shared;
  if (!checkpoint.shards().empty() &&
      SourceFile(checkpoint.shards().front()).shares_pages_with(directory)) {
    shared = tensors_in_step(plan, checkpoint);
  }
  ReadAhead::Ways ways;
  ways.hold = [&](const ReadAhead::Slice& slice) {
    return !shared.contains(slice.copy.source->name) && ReadAhead::is_worth_holding(slice);
  };
  ways.ask = [&](const ReadAhead::Slice& slice, std::uint64_t begin, std::uint64_t end) {
    if (!shared.contains(slice.copy.source->name)) ReadAhead::ask_kernel(slice, begin, end);
  };
  std::vector<std::shared_ptr<Extractor>> extractors;
  const auto make_append = [&]() -> AppendTensor {
    extractors.push_back(std::make_shared<Extractor>(checkpoint));
    return [&, extractor = extractors.back()](std::size_t tensor, OutputFile& out) {
      const auto begun = std::ranges::find(plan.shards, tensor, &Shard::first);
      if (begun != plan.shards.end()) {
        extractor->read_ahead(slices_of(plan.slices, tensor, begun->tensors.size()), ways);
      }
      const TensorSlice& slice = plan.slices.tensors[tensor];
      extractor->append(slice, dtype_of(plan, slice, &checkpoint), out, &meter);
    };
  };
  write_shards(plan.shards, plan.metadata, directory, kFilesAtOnce, make_append, meter, flush);
  for (const auto& extractor : extractors) extractor->check_unchanged();
}

std::unique_ptr<PlannedExport> huggingface_export(HuggingFacePlan plan, bool trust_remote_code,
                                                  std::string_view format, std::string auto_class) {
  return std::make_unique<HuggingFaceExport>(std::move(plan), trust_remote_code, format,
                                             std::move(auto_class));
}

}  // namespace mnm
