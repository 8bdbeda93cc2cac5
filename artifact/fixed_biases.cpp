#include "artifact/fixed_biases.h"

#include <algorithm>
#include <cstddef>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "extract/extract.h"
#include "families/compensation.h"
#include "model/safetensors.h"
#include "model/slice_plan.h"

namespace mnm {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kTogether = 1 << 16;  // elements of a matrix that are read at a time

fs::path sibling(const fs::path& target) {
  const fs::path whole = fs::absolute(target).lexically_normal();
  const fs::path named = whole.has_filename() ? whole : whole.parent_path();
  return named.parent_path() / (named.filename().string() + ".biases");
}

TensorSlice whole_of(const TensorSpec& spec) { return {&spec, spec.name, -1, {}, spec.shape}; }

// The bias of a layer at a width, as bytes of the type that it is stored in.
std::vector<std::byte> bias_at(const OpenedModel& nested, const Compensation& tensors,
                               Width width) {
  const TensorTable& table = nested.model.table;
  const TensorSpec& matrix = *table.find(tensors.matrix);
  const auto columns = static_cast<std::size_t>(matrix.shape.back());
  std::vector<bool> kept(columns, false);
  for (const Range& range : kept_ranges(matrix, width)) {
    std::fill(kept.begin() + range.begin, kept.begin() + range.end, true);
  }
  const TensorSlice means_slice = whole_of(*table.find(tensors.means));
  const TensorSlice bias_slice = whole_of(*table.find(tensors.bias));
  const std::vector<float> means = extract_f32(nested.checkpoint, means_slice);
  const std::vector<float> bias = extract_f32(nested.checkpoint, bias_slice);
  std::vector<double> sums(bias.begin(), bias.end());
  std::size_t at = 0;
  if (std::ranges::find(kept, false) != kept.end()) {
    const TensorSlice matrix_slice = whole_of(matrix);
    Extractor(nested.checkpoint).stream(matrix_slice, kTogether, [&](std::span<float> values) {
      for (const float value : values) {
        const std::size_t column = at % columns;
        if (!kept[column]) sums[at / columns] += static_cast<double>(value) * means[column];
        ++at;
      }
    });
  }
  const std::vector<float> values(sums.begin(), sums.end());
  const Dtype dtype = nested.model.dtype;
  check_range(values, dtype, tensors.bias);
  std::vector<std::byte> bytes(values.size() * size_of(dtype));
  from_f32(values, dtype, bytes);
  return bytes;
}

void write_biases(const OpenedModel& nested, const Widths& widths, const fs::path& file) {
  std::vector<TensorEntry> entries;
  std::vector<std::vector<std::byte>> data;
  for (std::size_t layer = 0; layer < widths.size(); ++layer) {
    const Compensation& tensors = nested.model.compensation[layer];
    const Width width =
        widths[layer] == kSkip ? nested.model.space.layers[layer].full() : widths[layer];
    entries.push_back({.name = tensors.bias,
                       .dtype = nested.model.dtype,
                       .shape = nested.model.table.find(tensors.bias)->shape,
                       .begin = 0,
                       .end = 0});
    data.push_back(bias_at(nested, tensors, width));
  }
  const std::string head = safetensors_head(entries, {{"format", "pt"}});
  OutputFile out(file);
  out.write(head);
  for (const std::vector<std::byte>& bytes : data) out.write(std::span<const std::byte>(bytes));
  out.close(Flush::kToKernel);
}

OpenedModel open_fixed(const OpenedModel& nested, const Widths& widths, const fs::path& directory) {
  nested.model.space.require(widths);
  const fs::path file = directory / kCompensationFile;
  write_biases(nested, widths, file);
  std::vector<std::string> left_out;
  for (const Compensation& tensors : nested.model.compensation) {
    // The checkpoint may have other names for them.
    left_out.push_back(nested.checkpoint.at(tensors.bias).name);
    left_out.push_back(nested.checkpoint.at(tensors.means).name);
  }
  nlohmann::json config = nested.model.config;
  drop_compensation(config);
  OpenedModel fixed = open_model(
      Checkpoint::open_with(nested.checkpoint.directory(), std::move(config), left_out, file));
  for (std::size_t layer = 0; layer < fixed.model.layers(); ++layer) {
    fixed.model.space.layers[layer].may_skip = nested.model.space.layers[layer].may_skip;
  }
  return fixed;
}

}  // namespace

FixedBiases::FixedBiases(const OpenedModel& nested, const Widths& widths, const fs::path& target)
    : directory_(sibling(target)), opened_(open_fixed(nested, widths, directory_.path())) {}

void require_fixed_biases(const NestedModel& model, const Widths& widths) {
  if (model.compensation.empty()) return;
  for (std::size_t layer = 0; layer < widths.size(); ++layer) {
    if (widths[layer] == kSkip || widths[layer] == model.space.layers[layer].full()) continue;
    fail(
        "cannot write slices of a compensated model at {}: the bias of layer {} holds nothing of "
        "what its width leaves out; write those of FixedBiases (artifact/fixed_biases.h)",
        to_string(widths), layer);
  }
}

}  // namespace mnm
