#include "export/gguf_writer.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>
#include <memory>
#include <utility>

#include "base/error.h"
#include "base/file.h"
#include "export/by_name.h"
#include "export/companion_files.h"
#include "export/gguf_tokenizer.h"
#include "export/probe.h"
#include "export/q8_0.h"
#include "extract/extract.h"
#include "model/shapes.h"

namespace mnm {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kChunk = 64u << 10;  // elements that are converted at a time, at least

// llama.cpp's numbers for "most tensors are": general.file_type.
std::uint32_t file_type(GgufType type) {
  switch (type) {
    case GgufType::kF32:
      return 0;
    case GgufType::kF16:
      return 1;
    case GgufType::kQ8_0:
      return 7;
    case GgufType::kBF16:
      return 32;
  }
  return 0;
}

Dtype dtype_of(GgufType type) {
  if (type == GgufType::kF16) return Dtype::kF16;
  return type == GgufType::kBF16 ? Dtype::kBF16 : Dtype::kF32;
}

// A tensor of the file, or a part of it, with where it comes from.
struct Item {
  GgufTensor tensor;
  const TensorSlice* slice = nullptr;  // null: tensor.values
  std::size_t entry = 0;               // the tensor of the file
  std::uint64_t begin = 0;             // of the part, in bytes of the tensor

  std::int64_t head_size() const { return slice->shape.front() / tensor.heads; }
  bool is_copy() const {  // in the file as in the checkpoint, but for the dtype
    return tensor.heads == 0 && tensor.function == GgufFunction::kIdentity;
  }
};

void apply(GgufFunction function, bool to_file, std::span<float> values) {
  for (float& value : values) {
    value = to_file ? to_gguf(function, value) : from_gguf(function, value);
  }
}

void encode(std::span<const float> values, GgufType type, const std::string& name,
            std::vector<std::byte>& bytes) {
  bytes.resize(row_bytes(type, static_cast<std::int64_t>(values.size())));
  if (type == GgufType::kQ8_0) {
    if (!quantize_q8(values, bytes)) {
      fail(
          "cannot store tensor '{}' in q8_0: it holds values that are no finite numbers, or past "
          "what its scales hold; choose bf16 or f32",
          name);
    }
    return;
  }
  check_range(values, dtype_of(type), name);
  from_f32(values, dtype_of(type), bytes);
}

// From the checkpoint's order of a head's rows to the file's.
void pair_rows(std::span<float> values, std::int64_t head_size, std::int64_t columns) {
  const std::vector<float> before(values.begin(), values.end());
  const auto width = static_cast<std::size_t>(columns);
  const auto rows = static_cast<std::int64_t>(values.size() / width);
  for (std::int64_t row = 0; row < rows; ++row) {
    const auto from = static_cast<std::size_t>(unpaired_row(row, head_size)) * width;
    std::copy_n(before.begin() + static_cast<std::ptrdiff_t>(from), width,
                values.begin() + static_cast<std::ptrdiff_t>(row) * columns);
  }
}

// A tensor of a written file in the checkpoint's terms, decoded as it is read.
class TensorDecoder {
 public:
  TensorDecoder(std::shared_ptr<const MappedFile> file, std::uint64_t offset, GgufType type,
                const Item& item)
      : file_(std::move(file)),
        offset_(offset),
        type_(type),
        function_(item.tensor.function),
        columns_(item.tensor.heads > 0 ? item.slice->elements() / item.slice->shape.front() : 0),
        head_size_(item.tensor.heads > 0 ? item.head_size() : 0) {}

  void operator()(std::uint64_t begin, std::span<std::byte> into) const {
    auto first = static_cast<std::int64_t>(begin / sizeof(float));
    const std::size_t skipped = begin % sizeof(float);
    std::vector<float> values((skipped + into.size() + sizeof(float) - 1) / sizeof(float));
    for (std::span<float> left = values; !left.empty();) {
      std::int64_t at = first, n = static_cast<std::int64_t>(left.size());
      if (head_size_ > 0) {
        const std::int64_t row = first / columns_, column = first % columns_;
        at = paired_row(row, head_size_) * columns_ + column;
        n = std::min(n, columns_ - column);
      }
      decode(at, left.first(static_cast<std::size_t>(n)));
      left = left.subspan(static_cast<std::size_t>(n));
      first += n;
    }
    apply(function_, false, values);
    std::ranges::copy(std::as_bytes(std::span(values)).subspan(skipped, into.size()), into.begin());
  }

 private:
  // Elements in the file's order, from `at` on: whole blocks are read, and cut.
  void decode(std::int64_t at, std::span<float> out) const {
    const std::int64_t block = block_size(type_), end = at + static_cast<std::int64_t>(out.size());
    const std::int64_t first = at / block * block, last = (end + block - 1) / block * block;
    std::vector<std::byte> bytes(row_bytes(type_, last - first));
    file_->read(offset_ + row_bytes(type_, first), bytes);
    std::vector<float> values(static_cast<std::size_t>(last - first));
    if (type_ == GgufType::kQ8_0) {
      dequantize_q8(bytes, values);
    } else {
      to_f32(bytes, dtype_of(type_), values);
    }
    std::copy_n(values.begin() + (at - first), out.size(), out.begin());
  }

  std::shared_ptr<const MappedFile> file_;
  std::uint64_t offset_;
  GgufType type_;
  GgufFunction function_;
  std::int64_t columns_, head_size_;  // head_size_ 0: its rows lie as in the checkpoint
};

class GgufExport final : public PlannedExport {
 public:
  GgufExport(SlicePlan slices, const Checkpoint& checkpoint, const GgufModel& gguf,
             nlohmann::json config, const GgufOptions& options, const NestedModel& model)
      : PlannedExport(std::move(slices)),
        type_(options.type),
        config_(std::move(config)),
        slices_by_name_(this->slices().tensors) {
    half_gelu_ = gguf.half_gelu;
    in_runtimes_ = gguf.in_llama_cpp;
    if (!in_runtimes_.config.is_null()) config_.merge_patch(in_runtimes_.config);
    for (const GgufTensor& tensor : gguf.tensors) add(tensor);
    for (std::size_t i = 0; i < items_.size(); ++i) {
      if (items_[i].slice != nullptr) items_of_[items_[i].slice->spec].push_back(i);
    }
    for (const TensorSlice& slice : this->slices().tensors) {
      const std::size_t uses = items_of_[slice.spec].size();
      if (uses != 1) fail("the tensor {} has {} names in gguf", slice.name, uses);
    }
    GgufFields fields = {{"general.architecture", gguf.architecture},
                         {"general.type", std::string("model")},
                         {"general.alignment", static_cast<std::uint32_t>(kGgufAlignment)},
                         {"general.file_type", file_type(type_)},
                         {"general.quantization_version", std::uint32_t{2}}};
    const auto append = [&fields](const GgufFields& more) {
      fields.insert(fields.end(), more.begin(), more.end());
    };
    append(gguf.fields);
    append(
        gguf_tokenizer(checkpoint.directory(), model.config, model.vocab_size, options.tokenizer));
    append(options.metadata);
    head_ = gguf_head(fields, entries_);
    file_bytes_ = head_.size() + aligned(entries_.back().offset + entries_.back().bytes());
    carried_ = carried_files(checkpoint.directory(), Carry::kLicence);
  }

  std::string_view format() const override { return "gguf"; }
  std::string_view dtype() const override { return to_string(type_); }

  std::map<std::string, std::uint64_t> files() const override {
    std::map<std::string, std::uint64_t> files = {{kGgufFile, file_bytes_}};
    for (const CarriedFile& file : carried_) files[file.name] = file.bytes;
    return files;
  }

  void write(const Checkpoint& checkpoint, const fs::path& directory, const ProgressSink& progress,
             Flush flush) const override {
    require_space(bytes(), directory);
    Meter meter(progress, static_cast<double>(bytes()), kEveryStep);
    copy_carried(carried_, checkpoint.directory(), directory, meter, flush);
    OutputFile out(directory / kGgufFile);
    out.write(head_);
    meter.add(static_cast<double>(head_.size()));
    Extractor extractor(checkpoint);
    std::vector<const TensorSlice*> needed;
    for (const Item& item : items_) {
      if (item.slice != nullptr) needed.push_back(item.slice);
    }
    extractor.read_ahead(std::move(needed));
    for (std::size_t i = 0; i < items_.size(); ++i) {
      const GgufEntry& entry = entries_[items_[i].entry];
      write_item(items_[i], entry, extractor, out, meter);
      write_first_rows(items_[i], entry, checkpoint, out, meter);
      if (i + 1 < items_.size() && items_[i + 1].entry == items_[i].entry) continue;
      const std::string padding(aligned(entry.bytes()) - entry.bytes(), '\0');
      out.write(padding);
      if (!padding.empty()) meter.add(static_cast<double>(padding.size()));
    }
    if (out.position() != file_bytes_) {
      fail("cannot write '{}': {} bytes came out, where {} were planned", out.path().string(),
           out.position(), file_bytes_);
    }
    out.close(flush);
    extractor.check_unchanged();
  }

  void check_layout(const fs::path& directory) const override {
    PlannedExport::check_layout(directory);
    const MappedFile file(directory / kGgufFile);
    const GgufHead head = parse_gguf(file.bytes(), file.path().string());
    const ByName found(head.tensors);
    for (const Item& item : items_) {
      const GgufEntry* entry = found.find(item.tensor.name);
      const bool planned = entry != nullptr &&
                           (item.slice == nullptr ||
                            (entry->shape == file_shape(item) && entry->type == stored_type(item)));
      if (!planned) {
        fail("the export's tensor '{}' is not there as planned", item.tensor.name);
      }
    }
  }

  Checkpoint reopen(const fs::path& directory) const override {
    const auto file = std::make_shared<const MappedFile>(directory / kGgufFile);
    const std::string path = file->path().string();
    const GgufHead head = parse_gguf(file->bytes(), path);
    const ByName found(head.tensors);
    std::vector<StoredTensor> tensors;
    for (const Item& item : items_) {
      const GgufEntry* entry = found.find(item.tensor.name);
      if (entry == nullptr) {
        fail("cannot read '{}': it has no tensor '{}'", path, item.tensor.name);
      }
      if (item.slice == nullptr) continue;
      if (entry->shape != file_shape(item)) {
        fail("cannot read '{}': tensor '{}' has another shape than planned", path, entry->name);
      }
      StoredTensor& tensor = tensors.emplace_back();
      tensor.name = item.slice->name;
      tensor.shape = item.slice->shape;
      const std::uint64_t offset = head.data_offset + entry->offset + item.begin;
      if (entry->type != GgufType::kQ8_0 && item.is_copy()) {
        tensor.dtype = dtype_of(entry->type);
        tensor.decode = [file, offset](std::uint64_t begin, std::span<std::byte> into) {
          file->read(offset + begin, into);
        };
      } else {
        tensor.dtype = Dtype::kF32;
        tensor.decode = TensorDecoder(file, offset, entry->type, item);
      }
    }
    if (head.tensors.size() != entries_.size()) {
      fail("cannot read '{}': it has {} tensors, expected {}", path, head.tensors.size(),
           entries_.size());
    }
    return Checkpoint::assemble(directory, config_, std::move(tensors), nullptr);
  }

  // Blocks and permutations are of whole rows, so they do not meet.
  void round(const TensorSlice& slice, std::span<float> values) const override {
    const Item& item = items_[items_of_.at(slice.spec).front()];
    const GgufType type = stored_type(item);
    apply(item.tensor.function, true, values);
    std::vector<std::byte> bytes;
    encode(values, type, slice.name, bytes);
    if (type == GgufType::kQ8_0) {
      dequantize_q8(bytes, values);
    } else {
      to_f32(bytes, dtype_of(type), values);
    }
    apply(item.tensor.function, false, values);
  }

  bool rounds(const Checkpoint& checkpoint) const override {
    return std::ranges::any_of(items_, [&](const Item& item) {
      if (item.slice == nullptr) return false;
      const GgufType type = stored_type(item);
      return type == GgufType::kQ8_0 ||
             roundoff(checkpoint.at(item.slice->spec->name).dtype, dtype_of(type)) > 0;
    });
  }

  // llama.cpp rounds what it multiplies a matrix with to the matrix' own type (ggml's
  // vec_dot_type). A block of q8_0 errs by up to half of 1/127 of its largest value, which is at
  // most sqrt(32) times the root of its mean square: relative to that, sqrt(32) / 254. GeLU's
  // argument and value are rounded to f16: the value is what `down` is multiplied with.
  double operand_roundoff() const override {
    if (type_ == GgufType::kQ8_0) return std::sqrt(static_cast<double>(kQ8Values)) / 254;
    return std::max(roundoff(Dtype::kF32, dtype_of(type_)),
                    half_gelu_ ? roundoff(Dtype::kF32, Dtype::kF16) : 0);
  }

  RuntimeFunction in_runtimes() const override { return in_runtimes_; }

  std::string loading(const fs::path& directory) const override {
    return fmt::format(
        "import llama_cpp\n"
        "model = llama_cpp.Llama({})\n"
        "print(model.n_vocab())\n",
        python_literal(directory / kGgufFile));
  }

 private:
  GgufType stored_type(const Item& item) const {
    return item.slice->shape.size() > 1 && !item.tensor.f32 ? type_ : GgufType::kF32;
  }
  static const std::vector<std::int64_t>& file_shape(const Item& item) {
    return item.tensor.shape.empty() ? item.slice->shape : item.tensor.shape;
  }

  const TensorSlice& slice_of(const std::string& name) const {
    const TensorSlice* found = slices_by_name_.find(name);
    if (found == nullptr) fail("no tensor is called {}", name);
    return *found;
  }

  void add(const GgufTensor& tensor) {
    Item item{tensor, nullptr, entries_.size(), 0};
    GgufEntry entry{tensor.name, GgufType::kF32, tensor.shape, 0};
    if (tensor.source.empty()) {
      if (entry.shape.empty()) entry.shape = {static_cast<std::int64_t>(tensor.values.size())};
    } else {
      const TensorSlice& first = slice_of(tensor.source);
      item.slice = &first;
      entry.shape = file_shape(item);
      entry.type = stored_type(item);
      std::int64_t elements =
          first.elements() + tensor.first_row_copies * first.elements() / first.shape.front();
      for (const std::string& name : tensor.stacked) elements += slice_of(name).elements();
      if (element_count(entry.shape) != elements) {
        fail("the tensor {} has other elements in gguf", tensor.source);
      }
      if (entry.shape.back() % block_size(entry.type) != 0) {
        fail(
            "cannot store tensor '{}' in {}: its rows have {} elements, and blocks have {}; choose "
            "widths that are multiples of it, or f16",
            tensor.source, to_string(entry.type), entry.shape.back(), block_size(entry.type));
      }
    }
    entries_.push_back(std::move(entry));
    items_.push_back(std::move(item));
    for (const std::string& name : tensor.stacked) {
      Item part = items_.back();
      part.begin += row_bytes(entries_.back().type, part.slice->elements());
      part.slice = &slice_of(name);
      items_.push_back(std::move(part));
    }
  }

  // What a reader that wants more rows finds in them.
  static void write_first_rows(const Item& item, const GgufEntry& entry,
                               const Checkpoint& checkpoint, OutputFile& out, Meter& meter) {
    if (item.tensor.first_row_copies == 0) return;
    const StoredTensor& stored = checkpoint.at(item.slice->spec->name);
    std::vector<float> whole(static_cast<std::size_t>(stored.shape.back())), kept;
    std::vector<std::byte> bytes(whole.size() * size_of(stored.dtype));
    checkpoint.read(stored, 0, bytes);
    to_f32(bytes, stored.dtype, whole);
    for (const Range& range : item.slice->ranges) {
      kept.insert(kept.end(), whole.begin() + range.begin, whole.begin() + range.end);
    }
    encode(item.slice->dim == 1 ? kept : whole, entry.type, entry.name, bytes);
    for (std::int64_t i = 0; i < item.tensor.first_row_copies; ++i) out.write(bytes);
    meter.add(static_cast<double>(bytes.size()) *
              static_cast<double>(item.tensor.first_row_copies));
  }

  void write_item(const Item& item, const GgufEntry& entry, Extractor& extractor, OutputFile& out,
                  Meter& meter) const {
    std::vector<std::byte> bytes;
    const auto put = [&](std::span<const float> values) {
      encode(values, entry.type, entry.name, bytes);
      out.write(bytes);
      meter.add(static_cast<double>(bytes.size()));
    };
    if (item.slice == nullptr) return put(item.tensor.values);
    if (item.tensor.heads > 0) {
      // A head at a time: its rows change places among themselves.
      const std::int64_t columns = item.slice->elements() / item.slice->shape.front();
      const auto head = static_cast<std::size_t>(item.head_size() * columns);
      extractor.stream(*item.slice, head, [&](std::span<float> values) {
        pair_rows(values, item.head_size(), columns);
        put(values);
      });
      return;
    }
    if (!item.is_copy()) {
      extractor.stream(*item.slice, kChunk, [&](std::span<float> values) {
        apply(item.tensor.function, true, values);
        put(values);
      });
      return;
    }
    if (entry.type != GgufType::kQ8_0) {
      return extractor.append(*item.slice, dtype_of(entry.type), out, &meter);
    }
    static_assert(kChunk % kQ8Values == 0);
    extractor.stream(*item.slice, kChunk, put);
  }

  GgufType type_;
  nlohmann::json config_;
  bool half_gelu_ = false;
  RuntimeFunction in_runtimes_;
  ByName<TensorSlice> slices_by_name_;
  std::vector<Item> items_;                                         // in the file's order
  std::map<const TensorSpec*, std::vector<std::size_t>> items_of_;  // those with a slice
  std::vector<GgufEntry> entries_;                                  // the same
  std::string head_;
  std::uint64_t file_bytes_ = 0;
  std::vector<CarriedFile> carried_;
};

}  // namespace

std::unique_ptr<PlannedExport> plan_gguf(const NestedModel& model, const Checkpoint& checkpoint,
                                         const Widths& widths, const GgufModel& gguf,
                                         nlohmann::json config, const GgufOptions& options) {
  model.space.require(widths);
  return std::make_unique<GgufExport>(plan_slices(model.table, widths), checkpoint, gguf,
                                      std::move(config), options, model);
}

}  // namespace mnm
