#include "artifact/padding.h"

#include <algorithm>
#include <cstddef>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "export/huggingface.h"
#include "extract/extract.h"
#include "model/shapes.h"
#include "model/slice_plan.h"

namespace mnm {
namespace {

constexpr std::size_t kTogether = 1 << 16;  // elements of a tensor that are read at a time

// Writes the elements that a tensor keeps, one after the other, and zeros where it keeps none.
class ZeroFilled {
 public:
  // Of `size` rows or columns with `inner` elements each, the tensor keeps those of the ranges.
  ZeroFilled(const std::vector<Range>& kept, std::int64_t size, std::int64_t inner, Dtype dtype,
             OutputFile& out)
      : dtype_(dtype), out_(out) {
    std::int64_t from = 0;
    for (const Range& range : kept) {
      runs_.push_back({static_cast<std::size_t>((range.begin - from) * inner),
                       static_cast<std::size_t>((range.end - range.begin) * inner)});
      from = range.end;
    }
    tail_ = static_cast<std::size_t>((size - from) * inner);
  }

  void write(std::span<const float> values) {
    while (!values.empty()) {
      if (left_ == 0) {
        zeros(runs_[run_].zeros);
        left_ = runs_[run_].kept;
      }
      const std::size_t n = std::min(left_, values.size());
      bytes_.resize(n * size_of(dtype_));
      from_f32(values.first(n), dtype_, bytes_);
      out_.write(std::span<const std::byte>(bytes_));
      values = values.subspan(n);
      left_ -= n;
      if (left_ > 0 || ++run_ < runs_.size()) continue;
      zeros(tail_);
      run_ = 0;
    }
  }

 private:
  struct Run {
    std::size_t zeros = 0, kept = 0;  // elements
  };

  void zeros(std::size_t elements) {
    static const std::vector<std::byte> kZeros(OutputFile::kWrite, std::byte{0});
    for (std::size_t bytes = elements * size_of(dtype_); bytes > 0;) {
      const std::size_t part = std::min(bytes, kZeros.size());
      out_.write(std::span(kZeros).first(part));
      bytes -= part;
    }
  }

  Dtype dtype_;
  OutputFile& out_;
  std::vector<Run> runs_;  // of a row, if columns are kept; else of all rows
  std::size_t tail_ = 0;   // zeros after the last one
  std::size_t run_ = 0, left_ = 0;
  std::vector<std::byte> bytes_;
};

// The tensors of a submodel as those of the padded one.
class PaddedTensors {
 public:
  // All of them outlive it.
  PaddedTensors(const OpenedModel& nested, const Widths& widths, const NestedModel& padded)
      : family_(*nested.family),
        padded_(padded),
        dtype_(nested.model.dtype),
        widths_(kept_widths(widths)),
        slices_(plan_slices(nested.model.table, widths)),
        extractor_(nested.checkpoint) {
    for (const TensorSlice& slice : slices_.tensors) by_name_.emplace(slice.name, &slice);
  }

  void append(const TensorSpec& spec, OutputFile& out, Meter& meter) {
    const auto found = by_name_.find(spec.name);
    if (found == by_name_.end()) fail("there is no tensor '{}' to pad", spec.name);
    const TensorSlice& slice = *found->second;
    if (slice.shape == spec.shape) {
      extractor_.append(slice, dtype_, out, &meter);
    } else if (family_.pads_by_repeating(padded_, spec)) {
      for (std::int64_t row = 0; row < spec.shape.front(); row += slice.shape.front()) {
        extractor_.append(slice, dtype_, out, &meter);
      }
    } else {
      append_with_zeros(slice, spec, out);
      meter.add(static_cast<double>(element_count(spec.shape)) *
                static_cast<double>(size_of(dtype_)));
    }
  }

  void check_unchanged() const { extractor_.check_unchanged(); }

 private:
  void append_with_zeros(const TensorSlice& slice, const TensorSpec& spec, OutputFile& out) {
    const auto dim = static_cast<std::size_t>(spec.cut_dim);
    std::int64_t inner = 1;
    for (std::size_t d = dim + 1; d < spec.shape.size(); ++d) inner *= spec.shape[d];
    const Width width = widths_[static_cast<std::size_t>(spec.layer)];
    ZeroFilled filled(kept_ranges(spec, width), spec.shape[dim], inner, dtype_, out);
    extractor_.stream(slice, kTogether, [&](std::span<float> values) {
      check_range(values, dtype_, slice.name);
      filled.write(values);
    });
  }

  const Family& family_;
  const NestedModel& padded_;
  Dtype dtype_;
  Widths widths_;  // of the layers that are kept
  SlicePlan slices_;
  Extractor extractor_;
  std::map<std::string_view, const TensorSlice*> by_name_;
};

std::filesystem::path sibling(const std::filesystem::path& target) {
  const std::filesystem::path whole = std::filesystem::absolute(target).lexically_normal();
  const std::filesystem::path named = whole.has_filename() ? whole : whole.parent_path();
  return named.parent_path() / (named.filename().string() + ".padded");
}

// Of the submodel with the widest layer's width in every layer, whether or not the layers of the
// nested model are so wide.
nlohmann::json padded_config(const OpenedModel& nested, const Widths& widths) {
  const Width widest = std::ranges::max(widths);
  NestedModel roomy = nested.model;
  Widths uniform = widths;
  for (std::size_t layer = 0; layer < widths.size(); ++layer) {
    std::vector<Width>& granularities = roomy.space.layers[layer].granularities;
    std::erase_if(granularities, [widest](Width width) { return width >= widest; });
    granularities.push_back(widest);
    if (widths[layer] != kSkip) uniform[layer] = widest;
  }
  return nested.family->huggingface_config(roomy, uniform, nested.model.dtype);
}

OpenedModel write_padded(const OpenedModel& nested, const Widths& widths,
                         const std::filesystem::path& directory) {
  nested.model.space.require(widths);
  if (const std::string why = nested.family->why_not_padded(nested.model, widths); !why.empty()) {
    fail("cannot pad {} to one width: {}", to_string(widths), why);
  }
  const nlohmann::json config = padded_config(nested, widths);
  const NestedModel padded = nested.family->describe(config, {});
  HuggingFaceOptions options;
  options.dtype = nested.model.dtype;
  const HuggingFacePlan plan = plan_huggingface(padded, padded.space.full(),
                                                {{"config.json", config.dump(2) + "\n"}}, options);
  std::vector<CarriedFile> carried = carried_files(nested.checkpoint.directory());
  std::erase_if(carried, [&](const CarriedFile& file) { return plan.texts.contains(file.name); });
  std::uint64_t bytes = plan.bytes;
  for (const CarriedFile& file : carried) bytes += file.bytes;
  require_space(bytes, directory);

  const ProgressSink nobody;
  Meter meter(nobody, static_cast<double>(bytes), kEveryStep);
  write_texts(plan.texts, directory, meter, Flush::kToKernel);
  copy_carried(carried, nested.checkpoint.directory(), directory, meter, Flush::kToKernel);
  PaddedTensors tensors(nested, widths, padded);
  const AppendTensor append = [&](std::size_t tensor, OutputFile& out) {
    tensors.append(*plan.slices.tensors[plan.written[tensor].slices.front()].spec, out, meter);
  };
  write_shards(
      plan.shards, plan.metadata, directory, 1, [&] { return append; }, meter, Flush::kToKernel);
  tensors.check_unchanged();
  return open_model(directory);
}

}  // namespace

PaddedModel::PaddedModel(const OpenedModel& nested, const Widths& widths,
                         const std::filesystem::path& target)
    : directory_(sibling(target)), opened_(write_padded(nested, widths, directory_.path())) {}

}  // namespace mnm
