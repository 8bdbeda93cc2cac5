#include "export/huggingface.h"

#include <algorithm>
#include <memory>
#include <set>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/file.h"
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

// The tensors of the files, by the layout if there is one.
std::vector<WrittenTensor> written_by(const std::vector<StackedTensor>& layout,
                                      const SlicePlan& slices) {
  std::map<std::string_view, std::size_t> places;
  for (std::size_t i = 0; i < slices.tensors.size(); ++i) places[slices.tensors[i].name] = i;
  std::vector<WrittenTensor> written;
  for (const StackedTensor& stacked : layout) {
    WrittenTensor& tensor = written.emplace_back(WrittenTensor{stacked.name, {}});
    for (const std::string& part : stacked.parts) {
      const auto found = places.find(part);
      if (found == places.end()) fail("the layout takes the tensor {} twice or has no such", part);
      tensor.slices.push_back(found->second);
      places.erase(found);
    }
  }
  for (std::size_t i = 0; i < slices.tensors.size(); ++i) {
    const std::string& name = slices.tensors[i].name;
    if (!places.contains(name)) continue;
    if (!layout.empty()) fail("the layout lacks the tensor {}", name);
    written.push_back({name, {i}});
  }
  return written;
}

std::vector<TensorEntry> entries_of(const HuggingFacePlan& plan, const Checkpoint* checkpoint) {
  std::vector<TensorEntry> entries;
  for (const WrittenTensor& tensor : plan.written) {
    const TensorSlice& first = plan.slices.tensors[tensor.slices.front()];
    TensorEntry& entry = entries.emplace_back();
    entry.name = tensor.name;
    entry.dtype = dtype_of(plan, first, checkpoint);
    entry.shape = first.shape;
    for (std::size_t i = 1; i < tensor.slices.size(); ++i) {
      entry.shape.front() += plan.slices.tensors[tensor.slices[i]].shape.front();
    }
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
  for (const WrittenTensor& tensor : plan.written) {
    const TensorSlice& slice = plan.slices.tensors[tensor.slices.front()];
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
      std::uint64_t place = shard.place + shard.tensors[i].begin;
      for (const std::size_t part : plan.written[shard.first + i].slices) {
        const TensorSlice& slice = plan.slices.tensors[part];
        const StoredTensor& stored = checkpoint.at(slice.spec->name);
        const TensorCopy copy = plan_copy(slice, stored);
        if (stored.dtype == dtype_of(plan, slice, &checkpoint) && copy.rows == 1 &&
            in_step(copy, place)) {
          in_step_names.insert(stored.name);
        }
        place += static_cast<std::uint64_t>(slice.elements()) * size_of(shard.tensors[i].dtype);
      }
    }
  }
  return in_step_names;
}

// The slices of so many tensors of the files, from the n-th on, in their order.
std::vector<const TensorSlice*> slices_of_written(const HuggingFacePlan& plan, std::size_t first,
                                                  std::size_t count) {
  std::vector<const TensorSlice*> slices;
  for (std::size_t i = first; i < first + count; ++i) {
    for (const std::size_t part : plan.written[i].slices) {
      slices.push_back(&plan.slices.tensors[part]);
    }
  }
  return slices;
}

class SafetensorsExport final : public PlannedExport {
 public:
  SafetensorsExport(HuggingFacePlan plan, std::string_view format, std::string loading,
                    RuntimeFunction in_runtimes)
      : PlannedExport(plan.slices),
        plan_(std::move(plan)),
        format_(format),
        loading_(std::move(loading)),
        in_runtimes_(std::move(in_runtimes)) {}

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
    for (const Shard& shard : plan_.shards) {
      for (const TensorEntry& planned : shard.tensors) {
        const StoredTensor& tensor = written.at(planned.name);
        if (tensor.shape == planned.shape && tensor.dtype == planned.dtype) continue;
        fail("the export's tensor '{}' is {} of shape {}, planned was {} of shape {}", planned.name,
             to_string(tensor.dtype), shape_text(tensor.shape), to_string(planned.dtype),
             shape_text(planned.shape));
      }
    }
    if (written.tensors().size() != plan_.written.size()) {
      fail("the export holds {} tensors, {} were planned", written.tensors().size(),
           plan_.written.size());
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

  RuntimeFunction in_runtimes() const override { return in_runtimes_; }

  std::string loading(const fs::path& directory) const override {
    return fmt::format(fmt::runtime(loading_), python_literal(directory));
  }

 private:
  HuggingFacePlan plan_;
  std::string_view format_;
  std::string loading_;
  RuntimeFunction in_runtimes_;
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
  plan.written = written_by(options.layout, plan.slices);
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
  for (CarriedFile& file : carried_files(checkpoint.directory(), options.carry)) {
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
        extractor->read_ahead(slices_of_written(plan, tensor, begun->tensors.size()), ways);
      }
      for (const TensorSlice* slice : slices_of_written(plan, tensor, 1)) {
        extractor->append(*slice, dtype_of(plan, *slice, &checkpoint), out, &meter);
      }
    };
  };
  write_shards(plan.shards, plan.metadata, directory, kFilesAtOnce, make_append, meter, flush);
  for (const auto& extractor : extractors) extractor->check_unchanged();
}

std::unique_ptr<PlannedExport> safetensors_export(HuggingFacePlan plan, std::string_view format,
                                                  std::string loading,
                                                  RuntimeFunction in_runtimes) {
  return std::make_unique<SafetensorsExport>(std::move(plan), format, std::move(loading),
                                             std::move(in_runtimes));
}

std::unique_ptr<PlannedExport> huggingface_export(HuggingFacePlan plan, bool trust_remote_code,
                                                  std::string_view format, std::string auto_class) {
  std::string loading = fmt::format(
      "from transformers import {0}\n"
      "model = {0}.from_pretrained({{}}{1})\n"
      "print(model.num_parameters())\n",
      auto_class, trust_remote_code ? ", trust_remote_code=True" : "");
  return safetensors_export(std::move(plan), format, std::move(loading));
}

}  // namespace mnm
