#include "extract/extract.h"

#include <algorithm>
#include <cmath>

#include "extract/slice_reader.h"
#include "model/error.h"

namespace mnm {
namespace {

// Bytes. It stays in a core's cache between read and write, and is as much as copy_file_range moves
// at once: the page cache answers longer writes with larger folios, whose memory takes longer to
// find (2.2 GB by 64 KiB, 256 KiB, 1 MiB on a virtual machine: 1.7, 3.3, 6.4 s of kernel time).
constexpr std::size_t kBuffer = 64u << 10;

// From here on a float rounds to infinity: half a unit past the largest finite value.
float overflow_of(Dtype dtype) {
  if (dtype == Dtype::kF16) return 65520.0f;
  return dtype == Dtype::kBF16 ? 0x1.ffp127f : HUGE_VALF;
}

}  // namespace

void check_range(std::span<const float> values, Dtype dtype, const std::string& name) {
  const float limit = overflow_of(dtype);
  for (float value : values) {
    if (std::fabs(value) >= limit && std::isfinite(value)) {
      fail("cannot convert tensor '{}' to {}: it holds {}, which {} cannot; choose bf16 or f32",
           name, to_string(dtype), value, to_string(dtype));
    }
  }
}

Extractor::Extractor(const Checkpoint& checkpoint)
    : checkpoint_(checkpoint), shards_(checkpoint.shards().size()) {}

Extractor::~Extractor() = default;

SourceFile& Extractor::shard_of(const StoredTensor& source) {
  std::unique_ptr<SourceFile>& shard = shards_.at(source.shard);
  if (!shard) shard = std::make_unique<SourceFile>(checkpoint_.shards()[source.shard]);
  return *shard;
}

void Extractor::append(const TensorSlice& slice, Dtype dtype, OutputFile& out,
                       const ByteProgress& progress) {
  const StoredTensor& source = checkpoint_.at(slice.spec->name);
  const TensorCopy copy = plan_copy(slice, source);
  SourceFile& file = shard_of(source);
  const auto report = [&](std::size_t bytes) {
    if (progress && !progress(bytes)) throw Stopped();
  };
  if (dtype == source.dtype && copy.rows <= 1) {
    file.expect(SourceFile::Access::kSequential);
    for (const ByteRange& range : copy.kept) {
      file.copy_to(out, copy.offset + range.begin, range.length(), progress);
    }
    return;
  }
  SliceReader reader(file, copy);
  std::vector<std::byte> bytes(
      static_cast<std::size_t>(std::min<std::uint64_t>(kBuffer, copy.bytes)));
  if (dtype == source.dtype) {
    while (const std::size_t n = reader.read(bytes)) {
      out.write(std::span(bytes).first(n));
      report(n);
    }
    return;
  }
  std::vector<float> values(bytes.size() / size_of(source.dtype));
  std::vector<std::byte> converted(values.size() * size_of(dtype));
  while (const std::size_t n = reader.read(bytes)) {
    const auto part = std::span(values).first(n / size_of(source.dtype));
    to_f32(std::span(bytes).first(n), source.dtype, part);
    check_range(part, dtype, source.name);
    const auto result = std::span(converted).first(part.size() * size_of(dtype));
    from_f32(part, dtype, result);
    out.write(result);
    report(result.size());
  }
}

void Extractor::stream(const TensorSlice& slice, std::size_t chunk,
                       const std::function<void(std::span<float>)>& sink) {
  const StoredTensor& source = checkpoint_.at(slice.spec->name);
  const TensorCopy copy = plan_copy(slice, source);
  SliceReader reader(shard_of(source), copy);
  std::vector<std::byte> bytes(chunk * size_of(source.dtype));
  std::vector<float> values(chunk);
  while (const std::size_t n = reader.read(bytes)) {
    const auto part = std::span(values).first(n / size_of(source.dtype));
    to_f32(std::span(bytes).first(n), source.dtype, part);
    sink(part);
  }
}

void Extractor::check_unchanged() const {
  for (const auto& shard : shards_) {
    if (shard) shard->check_unchanged();
  }
}

std::vector<float> extract_f32(const Checkpoint& checkpoint, const TensorSlice& slice) {
  Extractor extractor(checkpoint);
  const StoredTensor& source = checkpoint.at(slice.spec->name);
  const TensorCopy copy = plan_copy(slice, source);
  SliceReader reader(extractor.shard_of(source), copy);
  std::vector<std::byte> bytes(static_cast<std::size_t>(copy.bytes));
  reader.read(bytes);
  std::vector<float> values(bytes.size() / size_of(source.dtype));
  to_f32(bytes, source.dtype, values);
  extractor.check_unchanged();
  return values;
}

}  // namespace mnm
