#include "artifact/padding.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <span>
#include <system_error>
#include <utility>
#include <vector>

#include "base/error.h"
#include "export/huggingface.h"
#include "model/slice_plan.h"

namespace mnm {
namespace {

// An open file that is read and written at given places. (A checkpoint refuses to read what was
// written since it was opened.)
class Patch {
 public:
  explicit Patch(const std::filesystem::path& path)
      : path_(path.string()), descriptor_(::open(path.c_str(), O_RDWR | O_CLOEXEC)) {
    if (descriptor_ < 0) fail("cannot open '{}': {}", path_, std::strerror(errno));
  }
  Patch(const Patch&) = delete;
  Patch& operator=(const Patch&) = delete;
  ~Patch() { ::close(descriptor_); }

  void zeros(std::uint64_t offset, std::uint64_t bytes) {
    static const std::vector<std::byte> kZeros(1 << 20, std::byte{0});
    while (bytes > 0) {
      const std::size_t part = std::min<std::uint64_t>(bytes, kZeros.size());
      write(offset, std::span(kZeros).first(part));
      offset += part;
      bytes -= part;
    }
  }

  void read(std::uint64_t offset, std::span<std::byte> into) {
    while (!into.empty()) {
      const ssize_t got =
          ::pread(descriptor_, into.data(), into.size(), static_cast<off_t>(offset));
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) fail("cannot read '{}': {}", path_, std::strerror(errno));
      if (got == 0) fail("cannot read '{}': it was made shorter meanwhile", path_);
      offset += static_cast<std::uint64_t>(got);
      into = into.subspan(static_cast<std::size_t>(got));
    }
  }

  void write(std::uint64_t offset, std::span<const std::byte> from) {
    while (!from.empty()) {
      const ssize_t written =
          ::pwrite(descriptor_, from.data(), from.size(), static_cast<off_t>(offset));
      if (written < 0 && errno == EINTR) continue;
      if (written <= 0) fail("cannot write '{}': {}", path_, std::strerror(errno));
      offset += static_cast<std::uint64_t>(written);
      from = from.subspan(static_cast<std::size_t>(written));
    }
  }

 private:
  std::string path_;
  int descriptor_;
};

// What of [0, size) is in none of the ranges, which are ascending and disjoint.
std::vector<Range> complement(const std::vector<Range>& ranges, std::int64_t size) {
  std::vector<Range> gaps;
  std::int64_t from = 0;
  for (const Range& range : ranges) {
    if (range.begin > from) gaps.push_back({from, range.begin});
    from = range.end;
  }
  if (from < size) gaps.push_back({from, size});
  return gaps;
}

// Zeros in all of a stored tensor that its layer at `width` does not keep.
void pad(const Checkpoint& written, const TensorSpec& spec, Width width) {
  const StoredTensor& tensor = written.at(spec.name);
  Patch patch(written.shards().at(tensor.shard));
  const auto dim = static_cast<std::size_t>(spec.cut_dim);
  std::uint64_t rows = 1, inner = size_of(tensor.dtype);
  for (std::size_t d = 0; d < dim; ++d) rows *= static_cast<std::uint64_t>(spec.shape[d]);
  for (std::size_t d = dim + 1; d < spec.shape.size(); ++d) {
    inner *= static_cast<std::uint64_t>(spec.shape[d]);
  }
  const std::uint64_t row = inner * static_cast<std::uint64_t>(spec.shape[dim]);
  for (const Range& gap : complement(kept_ranges(spec, width), spec.shape[dim])) {
    const std::uint64_t begin = inner * static_cast<std::uint64_t>(gap.begin);
    const std::uint64_t bytes = inner * static_cast<std::uint64_t>(gap.end - gap.begin);
    for (std::uint64_t i = 0; i < rows; ++i) patch.zeros(tensor.offset + i * row + begin, bytes);
  }
}

// Copies of the first `width` rows of a stored matrix in all of its other rows, a whole number of
// times.
void repeat(const Checkpoint& written, const TensorSpec& spec, Width width) {
  const StoredTensor& tensor = written.at(spec.name);
  Patch patch(written.shards().at(tensor.shard));
  const std::uint64_t row = tensor.bytes() / static_cast<std::uint64_t>(spec.shape[0]);
  const std::uint64_t kept = row * static_cast<std::uint64_t>(width);
  std::vector<std::byte> piece;
  for (std::uint64_t at = kept; at < tensor.bytes(); at += piece.size()) {
    piece.resize(std::min<std::uint64_t>(1 << 20, kept - at % kept));
    patch.read(tensor.offset + at % kept, piece);
    patch.write(tensor.offset + at, piece);
  }
}

std::filesystem::path sibling(const std::filesystem::path& target) {
  const std::filesystem::path whole = std::filesystem::absolute(target).lexically_normal();
  const std::filesystem::path named = whole.has_filename() ? whole : whole.parent_path();
  return named.parent_path() / (named.filename().string() + ".padded");
}

OpenedModel write_padded(const OpenedModel& nested, const Widths& widths,
                         const std::filesystem::path& directory) {
  const Family& family = *nested.family;
  if (const std::string why = family.why_not_padded(nested.model, widths); !why.empty()) {
    fail("cannot pad {} to one width: {}", to_string(widths), why);
  }
  const Width widest = std::ranges::max(widths);
  Widths uniform = widths;
  for (Width& width : uniform) width = width == kSkip ? kSkip : widest;
  nested.model.space.require(uniform);
  const Dtype dtype = nested.model.dtype;
  HuggingFaceOptions options;
  options.dtype = dtype;
  const nlohmann::json config = family.huggingface_config(nested.model, uniform, dtype);
  const HuggingFacePlan plan = plan_huggingface(nested.model, nested.checkpoint, uniform,
                                                {{"config.json", config.dump(2) + "\n"}}, options);
  write_huggingface(plan, nested.checkpoint, directory);
  {
    const OpenedModel whole = open_model(directory);
    const Widths kept = kept_widths(widths);
    for (const TensorSpec& spec : whole.model.table.tensors) {
      if (spec.layer < 0 || spec.cut_dim < 0) continue;
      const Width width = kept[static_cast<std::size_t>(spec.layer)];
      const bool repeats = family.pads_by_repeating(whole.model, spec);
      (repeats ? repeat : pad)(whole.checkpoint, spec, width);
    }
  }
  return open_model(directory);
}

}  // namespace

PaddedModel::PaddedModel(const OpenedModel& nested, const Widths& widths,
                         const std::filesystem::path& target)
    : directory_(sibling(target)), opened_(write_padded(nested, widths, directory_.path())) {}

}  // namespace mnm
