#include "extract/extract.h"

#include <algorithm>
#include <cmath>
#include <system_error>

#include "base/error.h"
#include "extract/ordered_pipeline.h"
#include "extract/slice_reader.h"

namespace mnm {
namespace {

// Bytes of the output that one thread prepares at a time, and how many threads do: while one of
// them writes, another reads. A part ends where the output's position is a multiple of it, as
// OutputFile::write likes it.
constexpr std::uint64_t kPart = 512u << 10;
constexpr unsigned kThreads = 3;
// The same where nothing is prepared but the map of the source's pages.
constexpr std::uint64_t kViewedPart = 2u << 20;
constexpr unsigned kViewers = 2;
// The same where the kernel copies on its own.
constexpr std::uint64_t kInKernel = 8u << 20;
// What is done at once is less than what is read ahead of it.
static_assert(2 * kInKernel <= ReadAhead::kAhead &&
              2 * kViewers * kViewedPart <= ReadAhead::kAhead);
// Elements that are converted at a time: they stay in a core's nearest cache.
constexpr std::size_t kConverted = 4096;

// From here on a float rounds to infinity: half a unit past the largest finite value.
float overflow_of(Dtype dtype) {
  if (dtype == Dtype::kF16) return 65520.0f;
  return dtype == Dtype::kBF16 ? 0x1.ffp127f : HUGE_VALF;
}

// How a slice of `elements` is cut into parts of the output, which begins at `position` of its
// file.
class Parts {
 public:
  Parts(std::uint64_t part_bytes, std::uint64_t elements, std::size_t element_bytes,
        std::uint64_t position)
      : elements_(elements), each_(part_bytes / element_bytes) {
    first_ = (part_bytes - position % part_bytes) / element_bytes;
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

// What the ways to append a slice have in common.
struct Appending {
  const SourceFile& file;
  const TensorCopy& copy;
  Dtype dtype;
  Parts parts;
  OutputFile& out;
  Meter* meter;
  ReadAhead* ahead = nullptr;
  std::uint64_t place = 0;  // of the slice, there
  std::size_t number = 0;   // the same
  bool held = false;        // there

  std::uint64_t begin(std::uint64_t part) const {  // in bytes of the slice
    return parts.begin(part) * size_of(copy.source->dtype);
  }

  // Until the disk has been asked for it.
  void await(std::uint64_t part) const {
    if (ahead != nullptr) ahead->await(place + begin(part + 1));
  }
  void done(std::uint64_t part) const {
    if (ahead != nullptr) ahead->done(place + begin(part + 1));
  }

  BlockRing::Pieces held_pieces(std::uint64_t part) const {
    return ahead->held(number, begin(part), begin(part + 1)).value();
  }

  void report(std::uint64_t bytes) const {
    if (meter != nullptr) meter->add(static_cast<double>(bytes));
  }
};

// Writes what was read ahead from where it lies.
class HeldAppender final : public PartWorker {
 public:
  explicit HeldAppender(const Appending& job) : job_(job) {}

  void prepare(std::uint64_t part) override { job_.await(part); }

  void finish(std::uint64_t part) override {
    const auto [first, second] = job_.held_pieces(part);
    const std::span<const std::byte> pieces[] = {first, second};
    job_.out.write(pieces);
    job_.done(part);
    job_.report(job_.begin(part + 1) - job_.begin(part));
  }

 private:
  const Appending& job_;
};

// Hands the source's pages on to the kernel, which copies them into the output's: once, and no
// buffer of this program's between.
class ViewAppender final : public PartWorker {
 public:
  explicit ViewAppender(const Appending& job) : job_(job), view_(job.file, job.copy) {}

  void prepare(std::uint64_t part) override {
    job_.await(part);
    pieces_ = view_.pieces(job_.begin(part), job_.begin(part + 1));
  }

  void finish(std::uint64_t part) override {
    try {
      job_.out.write(pieces_);
    } catch (const Error&) {
      read_again(part);
      throw;
    }
    job_.done(part);
    job_.report(job_.begin(part + 1) - job_.begin(part));
  }

 private:
  // Where what was mapped cannot be read, the kernel says no more of it than "bad address": throws
  // what an ordinary reader is told.
  void read_again(std::uint64_t part) const {
    std::vector<std::byte> buffer(OutputFile::kWrite);
    SliceReader reader(job_.file, job_.copy);
    reader.seek(job_.begin(part));
    for (std::uint64_t left = job_.begin(part + 1) - job_.begin(part); left > 0;) {
      left -= reader.read(std::span(buffer).first(std::min<std::uint64_t>(left, buffer.size())));
    }
  }

  const Appending& job_;
  SliceView view_;
  std::span<const std::span<const std::byte>> pieces_;
};

void copy_out(const BlockRing::Pieces& pieces, std::span<std::byte> into) {
  for (const std::span<std::byte> piece : pieces) {
    std::ranges::copy(piece, into.begin());
    into = into.subspan(piece.size());
  }
}

class PartAppender final : public PartWorker {
 public:
  explicit PartAppender(const Appending& job)
      : job_(job), reader_(job.file, job.copy), from_(job.copy.source->dtype) {}

  void prepare(std::uint64_t part) override {
    job_.await(part);
    const std::uint64_t begin = job_.begin(part);
    bytes_.resize(static_cast<std::size_t>(job_.begin(part + 1) - begin));
    if (job_.held) {
      copy_out(job_.held_pieces(part), bytes_);
    } else {
      reader_.seek(begin);
      reader_.read(bytes_);
    }
    if (job_.dtype != from_) convert();
  }

  void finish(std::uint64_t part) override {
    const auto& ready = job_.dtype == from_ ? bytes_ : converted_;
    job_.out.write(ready);
    job_.done(part);
    job_.report(ready.size());
  }

 private:
  void convert() {
    const std::size_t from = size_of(from_), to = size_of(job_.dtype);
    const std::size_t elements = bytes_.size() / from;
    values_.resize(kConverted);
    converted_.resize(elements * to);
    for (std::size_t done = 0; done < elements;) {
      const auto values = std::span(values_).first(std::min(kConverted, elements - done));
      to_f32(std::span(bytes_).subspan(done * from, values.size() * from), from_, values);
      check_range(values, job_.dtype, job_.copy.source->name);
      from_f32(values, job_.dtype, std::span(converted_).subspan(done * to, values.size() * to));
      done += values.size();
    }
  }

  const Appending& job_;
  SliceReader reader_;
  Dtype from_;
  std::vector<std::byte> bytes_, converted_;
  std::vector<float> values_;
};

}  // namespace

bool in_step(const TensorCopy& copy, std::uint64_t position) {
  return std::ranges::all_of(copy.kept, [&](const ByteRange& range) {
    const bool same = (copy.offset + range.begin) % kPage == position % kPage;
    position += range.length();
    return same;
  });
}

std::vector<const TensorSlice*> slices_of(const SlicePlan& plan, std::size_t first,
                                          std::size_t count) {
  std::vector<const TensorSlice*> slices;
  for (std::size_t i = first; i < plan.tensors.size() && slices.size() < count; ++i) {
    slices.push_back(&plan.tensors[i]);
  }
  return slices;
}

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

void Extractor::read_ahead(std::vector<const TensorSlice*> slices, ReadAhead::Ways ways) {
  std::vector<ReadAhead::Slice> ahead;
  for (const TensorSlice* slice : slices) {
    const StoredTensor& source = checkpoint_.at(slice->spec->name);
    ahead.push_back({&shard_of(source), plan_copy(*slice, source)});
  }
  ahead_.reset();
  place_ = 0;
  coming_ = std::move(slices);
  begun_ = 0;
  expect(SourceFile::Access::kAnnounced);
  try {
    ahead_ = std::make_unique<ReadAhead>(std::move(ahead), std::move(ways));
  } catch (const std::system_error&) {  // no thread is to be had
    expect(SourceFile::Access::kSequential);
  }
}

void Extractor::expect(SourceFile::Access access) {
  for (const auto& shard : shards_) {
    if (shard) shard->expect(access);
  }
}

// What is known of a slice's coming, at the beginning of its use.
void Extractor::begin(const TensorSlice& slice) {
  if (!ahead_) return;
  if (begun_ < coming_.size() && coming_[begun_] == &slice) {
    ++begun_;
    return;
  }
  ahead_.reset();  // another one than was said: from here on as if nothing had been
  expect(SourceFile::Access::kSequential);
}

// Whether the slice that was begun is held by ahead_.
bool Extractor::holds(const TensorCopy& copy) {
  if (!ahead_ || !ReadAhead::can_hold(copy)) return false;
  ahead_->await(place_ + 1);
  return ahead_->held(begun_ - 1, 0, 0).has_value();
}

void Extractor::append(const TensorSlice& slice, Dtype dtype, OutputFile& out, Meter* meter) {
  const StoredTensor& source = checkpoint_.at(slice.spec->name);
  const TensorCopy copy = plan_copy(slice, source);
  SourceFile& file = shard_of(source);
  begin(slice);
  const bool same = dtype == source.dtype;
  const bool held = holds(copy);
  if (same && !held && copy.rows == 1 && in_step(copy, out.position())) {
    for (const ByteRange& range : copy.kept) {
      for (std::uint64_t at = range.begin, n = 0; at < range.end; at += n) {
        n = std::min(kInKernel - OutputFile::kWrite + out.room(), range.end - at);
        if (ahead_) ahead_->await(place_ + n);
        file.copy_to(out, copy.offset + at, n, meter);
        place_ += n;
        if (ahead_) ahead_->done(place_);
      }
    }
    return;
  }
  const bool viewed = same && (held || SliceView::suits(copy));
  const Parts parts(viewed ? kViewedPart : kPart, copy.bytes / size_of(source.dtype),
                    size_of(dtype), out.position());
  const Appending job{file, copy, dtype, parts, out, meter, ahead_.get(), place_, begun_ - 1, held};
  run_in_order(parts.count(), viewed ? kViewers : kThreads, [&]() -> std::unique_ptr<PartWorker> {
    if (same && held) return std::make_unique<HeldAppender>(job);
    if (viewed) return std::make_unique<ViewAppender>(job);
    return std::make_unique<PartAppender>(job);
  });
  place_ += copy.bytes;
}

void Extractor::stream(const TensorSlice& slice, std::size_t chunk,
                       const std::function<void(std::span<float>)>& sink) {
  const StoredTensor& source = checkpoint_.at(slice.spec->name);
  const TensorCopy copy = plan_copy(slice, source);
  SourceFile& file = shard_of(source);
  begin(slice);
  const bool held = holds(copy);
  SliceReader reader(file, copy);
  std::vector<std::byte> bytes(chunk * size_of(source.dtype));
  std::vector<float> values(chunk);
  std::uint64_t at = 0;
  const auto read = [&](std::span<std::byte> into) {
    const std::size_t n = into.size();
    if (ahead_) ahead_->await(place_ + n);
    if (held) {
      copy_out(ahead_->held(begun_ - 1, at, at + n).value(), into);
    } else {
      reader.read(into);
    }
    at += n;
    place_ += n;
    if (ahead_) ahead_->done(place_);
  };
  while (at < copy.bytes) {
    const auto part =
        std::span(bytes).first(std::min<std::uint64_t>(copy.bytes - at, bytes.size()));
    // A chunk may be of any size, what is read ahead is not.
    for (std::size_t begin = 0; begin < part.size(); begin += kPart) {
      read(part.subspan(begin, std::min<std::size_t>(kPart, part.size() - begin)));
    }
    const auto ready = std::span(values).first(part.size() / size_of(source.dtype));
    to_f32(part, source.dtype, ready);
    sink(ready);
  }
}

void Extractor::check_unchanged() const {
  for (const auto& shard : shards_) {
    if (shard) shard->check_unchanged();
  }
  checkpoint_.check_unchanged();
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
