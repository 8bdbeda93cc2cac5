#include "extract/extract.h"

#include <algorithm>
#include <cmath>

#include "extract/in_order.h"
#include "extract/slice_reader.h"
#include "model/error.h"

namespace mnm {
namespace {

// Bytes of the output that one thread prepares at a time, and how many threads do: while one of
// them writes, another reads. A part ends where the output's position is a multiple of it, as
// OutputFile::write likes it.
constexpr std::uint64_t kPart = 512u << 10;
constexpr unsigned kThreads = 3;
// How far the disk is kept ahead of what is prepared, where the kernel cannot know what comes next.
constexpr std::uint64_t kPartsAhead = 8;
// Elements that are converted at a time: they stay in a core's nearest cache.
constexpr std::size_t kConverted = 4096;

// From here on a float rounds to infinity: half a unit past the largest finite value.
float overflow_of(Dtype dtype) {
  if (dtype == Dtype::kF16) return 65520.0f;
  return dtype == Dtype::kBF16 ? 0x1.ffp127f : HUGE_VALF;
}

// Whether source and output begin their pages at the same bytes. The kernel then copies page by
// page; where they do not, every page is made of parts of two, at two thirds of the speed.
bool in_step(const TensorCopy& copy, std::uint64_t position) {
  return std::ranges::all_of(copy.kept, [&](const ByteRange& range) {
    const bool same = (copy.offset + range.begin) % kPage == position % kPage;
    position += range.length();
    return same;
  });
}

// How a slice of `elements` is cut into parts of the output, which begins at `position` of its
// file.
class Parts {
 public:
  Parts(std::uint64_t elements, std::size_t element_bytes, std::uint64_t position)
      : elements_(elements), each_(kPart / element_bytes) {
    first_ = (kPart - position % kPart) / element_bytes;
    if (first_ == 0) first_ = each_;
  }

  std::uint64_t count() const {
    if (elements_ == 0) return 0;
    return elements_ <= first_ ? 1 : 1 + (elements_ - first_ + each_ - 1) / each_;
  }
  // In elements; of the number of parts and beyond: all of them.
  std::uint64_t begin(std::uint64_t part) const {
    return part == 0 ? 0 : std::min(elements_, first_ + (part - 1) * each_);
  }

 private:
  std::uint64_t elements_, each_, first_ = 0;
};

class PartAppender final : public PartWorker {
 public:
  PartAppender(const SourceFile& file, const TensorCopy& copy, Dtype dtype, const Parts& parts,
               OutputFile& out, const ByteProgress& progress)
      : copy_(copy),
        reader_(file, copy),
        from_(size_of(copy.source->dtype)),
        dtype_(dtype),
        parts_(parts),
        out_(out),
        progress_(progress) {}

  void prepare(std::uint64_t part) override {
    // Parts are handed out in order, so each is announced once, by the first or by an earlier one.
    announce(part == 0 ? 0 : part + kPartsAhead, part + kPartsAhead + 1);
    const std::uint64_t begin = parts_.begin(part) * from_, end = parts_.begin(part + 1) * from_;
    bytes_.resize(static_cast<std::size_t>(end - begin));
    reader_.seek(begin);
    reader_.read(bytes_);
    if (dtype_ != copy_.source->dtype) convert();
  }

  void finish(std::uint64_t) override {
    const auto& ready = dtype_ == copy_.source->dtype ? bytes_ : converted_;
    out_.write(ready);
    if (progress_ && !progress_(ready.size())) throw Stopped();
  }

 private:
  void announce(std::uint64_t first, std::uint64_t end) {
    reader_.announce(parts_.begin(first) * from_, parts_.begin(end) * from_);
  }

  void convert() {
    const std::size_t to = size_of(dtype_), elements = bytes_.size() / from_;
    values_.resize(kConverted);
    converted_.resize(elements * to);
    for (std::size_t done = 0; done < elements;) {
      const auto values = std::span(values_).first(std::min(kConverted, elements - done));
      to_f32(std::span(bytes_).subspan(done * from_, values.size() * from_), copy_.source->dtype,
             values);
      check_range(values, dtype_, copy_.source->name);
      from_f32(values, dtype_, std::span(converted_).subspan(done * to, values.size() * to));
      done += values.size();
    }
  }

  const TensorCopy& copy_;
  SliceReader reader_;
  std::size_t from_;  // bytes of an element of the source
  Dtype dtype_;
  const Parts& parts_;
  OutputFile& out_;
  const ByteProgress& progress_;
  std::vector<std::byte> bytes_, converted_;
  std::vector<float> values_;
};

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
  if (dtype == source.dtype && copy.rows == 1 && in_step(copy, out.position())) {
    file.expect(SourceFile::Access::kSequential);
    for (const ByteRange& range : copy.kept) {
      file.copy_to(out, copy.offset + range.begin, range.length(), progress);
    }
    return;
  }
  const Parts parts(copy.bytes / size_of(source.dtype), size_of(dtype), out.position());
  file.expect(SourceFile::Access::kAnnounced);
  run_in_order(parts.count(), kThreads, [&] {
    return std::make_unique<PartAppender>(file, copy, dtype, parts, out, progress);
  });
}

void Extractor::stream(const TensorSlice& slice, std::size_t chunk,
                       const std::function<void(std::span<float>)>& sink) {
  const StoredTensor& source = checkpoint_.at(slice.spec->name);
  const TensorCopy copy = plan_copy(slice, source);
  SourceFile& file = shard_of(source);
  file.expect(SourceFile::Access::kSequential);
  SliceReader reader(file, copy);
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
