#include "neurons/permuted_file.h"

#include <algorithm>
#include <memory>
#include <span>
#include <vector>

#include "base/error.h"
#include "extract/ordered_pipeline.h"
#include "extract/source_file.h"

namespace mnm {
namespace {

constexpr unsigned kThreads = 3;
constexpr std::uint64_t kPart = 1u << 20;    // bytes that a thread makes at a time
constexpr std::uint64_t kCopied = 8u << 20;  // bytes that the kernel copies between two reports
// Bytes that the disk is asked for at once, so that it reads in order what is used out of order.
constexpr std::uint64_t kAhead = 128u << 20;

// Makes parts of a reordered tensor, [part * kPart, ...) of its bytes.
class PermutingWorker final : public PartWorker {
 public:
  PermutingWorker(const SourceFile& source, const FileSegment& segment, OutputFile& out,
                  Meter& meter)
      : source_(source), segment_(segment), out_(out), meter_(meter) {}

  void prepare(std::uint64_t part) override {
    const std::uint64_t begin = part * kPart;
    made_.resize(std::min(kPart, segment_.bytes - begin));
    read_permuted(
        *segment_.reordered, begin, made_,
        [this](std::uint64_t at, std::span<std::byte> into) {
          source_.read(segment_.offset + at, into);
        },
        rows_);
  }

  void finish(std::uint64_t) override {
    out_.write(std::span<const std::byte>(made_));
    meter_.add(static_cast<double>(made_.size()));
  }

 private:
  const SourceFile& source_;
  const FileSegment& segment_;
  OutputFile& out_;
  Meter& meter_;
  std::vector<std::byte> made_, rows_;
};

void copy(const SourceFile& source, const FileSegment& segment, OutputFile& out, Meter& meter) {
  for (std::uint64_t done = 0; done < segment.bytes;) {
    const std::uint64_t n = std::min(kCopied, segment.bytes - done);
    source.copy_to(out, segment.offset + done, n, &meter);
    done += n;
  }
}

// Rows of at least so many bytes are written from the pages of the source.
constexpr std::int64_t kGathered = 1 << 10;
constexpr std::uint64_t kRows = 1024;  // that are written at once

// Rows that move as a whole: the kernel gathers them from the pages that it holds of the source, so
// that each is copied once.
void gather(const SourceFile& source, const FileSegment& segment, OutputFile& out, Meter& meter) {
  const PermutedTensor& tensor = *segment.reordered;
  const SourceFile::Window window(source, segment.offset, segment.bytes);
  window.fetch(window.bytes());
  const auto inner = static_cast<std::uint64_t>(tensor.inner);
  const auto count = static_cast<std::uint64_t>(tensor.count);
  const std::uint64_t rows = segment.bytes / inner;
  std::vector<std::span<const std::byte>> pieces;
  for (std::uint64_t row = 0; row < rows; ++row) {
    const std::uint64_t from =
        row / count * count + static_cast<std::uint64_t>(tensor.from[row % count]);
    pieces.push_back(window.bytes().subspan(from * inner, inner));
    if (pieces.size() < kRows && row + 1 < rows) continue;
    try {
      out.write(pieces);
    } catch (const Error&) {
      source.check_unchanged();  // pages that are gone cannot be written
      throw;
    }
    meter.add(static_cast<double>(pieces.size() * inner));
    pieces.clear();
  }
}

}  // namespace

PermutedFile plan_permuted_file(const Checkpoint& checkpoint, std::size_t shard,
                                const std::map<std::string, PermutedTensor>& tensors) {
  PermutedFile file{checkpoint.shards().at(shard), 0, {}};
  file.bytes = SourceFile(file.source).size();
  std::uint64_t end = 0;
  const auto copy_up_to = [&](std::uint64_t offset) {
    if (offset > end) file.segments.push_back({end, offset - end, nullptr});
    end = offset;
  };
  for (const StoredTensor& tensor : checkpoint.tensors()) {
    const auto found = tensor.shard == shard ? tensors.find(tensor.name) : tensors.end();
    if (found == tensors.end() || tensor.bytes() == 0) continue;
    copy_up_to(tensor.offset);
    file.segments.push_back({tensor.offset, tensor.bytes(), &found->second});
    end += tensor.bytes();
  }
  copy_up_to(file.bytes);
  return file;
}

void write_permuted_file(const PermutedFile& file, const std::filesystem::path& target,
                         Meter& meter, Flush flush) {
  const SourceFile source(file.source);
  OutputFile out(target);
  const auto prefetch = [&](const FileSegment& segment) {
    source.prefetch(segment.offset, std::min(segment.bytes, kAhead));
  };
  if (!file.segments.empty()) prefetch(file.segments.front());
  for (std::size_t i = 0; i < file.segments.size(); ++i) {
    const FileSegment& segment = file.segments[i];
    if (i + 1 < file.segments.size()) prefetch(file.segments[i + 1]);
    if (segment.reordered == nullptr) {
      copy(source, segment, out, meter);
      continue;
    }
    if (segment.reordered->inner >= kGathered) {
      gather(source, segment, out, meter);
      continue;
    }
    run_in_order((segment.bytes + kPart - 1) / kPart, kThreads,
                 [&] { return std::make_unique<PermutingWorker>(source, segment, out, meter); });
  }
  out.close(flush);
  source.check_unchanged();
}

}  // namespace mnm
