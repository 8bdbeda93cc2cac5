#include "extract/slice_reader.h"

#include <algorithm>
#include <cstring>

namespace mnm {
namespace {

// A system call costs about as much as copying 4 KiB out of the page cache. Ranges that are both
// shorter and closer together than that are picked from stretches of the file read whole.
constexpr std::uint64_t kShortRange = 1u << 10;
constexpr std::uint64_t kClosePitch = 8u << 10;
constexpr std::uint64_t kWindow = 256u << 10;
// How far the disk is kept ahead of the copy, in bytes of the file.
constexpr std::uint64_t kReadAhead = 32u << 20;
// Gaps as long as this are not read from the disk: at 1 GB/s it takes as long as one more request.
constexpr std::uint64_t kLongGap = 32u << 10;
constexpr std::uint64_t kPrefetchRun = 128u << 10;

}  // namespace

SliceReader::SliceReader(SourceFile& file, const TensorCopy& copy) : file_(file), copy_(copy) {
  const bool strided = copy.rows > 1;
  if (strided) {
    const std::uint64_t per_row = copy.bytes / copy.rows;
    windowed_ =
        per_row / copy.kept.size() < kShortRange && copy.row_bytes / copy.kept.size() < kClosePitch;
  }
  file_.expect(strided ? SourceFile::Access::kJumping : SourceFile::Access::kSequential);
}

std::size_t SliceReader::read(std::span<std::byte> into) {
  std::size_t done = 0;
  while (done < into.size() && row_ < copy_.rows) {
    const ByteRange& range = copy_.kept[range_];
    const auto n =
        static_cast<std::size_t>(std::min<std::uint64_t>(range.length() - at_, into.size() - done));
    if (at_ == 0 && range_ == 0) read_ahead();
    fetch(copy_.offset + row_ * copy_.row_bytes + range.begin + at_, into.subspan(done, n));
    done += n;
    at_ += n;
    if (at_ < range.length()) continue;
    at_ = 0;
    if (++range_ < copy_.kept.size()) continue;
    range_ = 0;
    ++row_;
  }
  return done;
}

void SliceReader::fetch(std::uint64_t offset, std::span<std::byte> into) {
  if (!windowed_) return file_.read(offset, into);
  while (!into.empty()) {
    if (offset < window_begin_ || offset >= window_begin_ + window_.size()) {
      const std::uint64_t end = copy_.offset + copy_.rows * copy_.row_bytes;
      window_begin_ = offset;
      window_.resize(static_cast<std::size_t>(std::min(kWindow, end - offset)));
      file_.read(window_begin_, window_);
    }
    const auto at = static_cast<std::size_t>(offset - window_begin_);
    const std::size_t n = std::min(into.size(), window_.size() - at);
    std::memcpy(into.data(), window_.data() + at, n);
    offset += n;
    into = into.subspan(n);
  }
}

void SliceReader::read_ahead() {
  if (copy_.rows <= 1) return;  // the kernel's own read-ahead serves what lies in one piece
  const std::uint64_t kept = copy_.bytes / copy_.rows;
  const std::uint64_t gap = (copy_.row_bytes - kept) / copy_.kept.size();
  const std::uint64_t target =
      std::min(copy_.rows, row_ + std::max<std::uint64_t>(1, kReadAhead / copy_.row_bytes));
  const std::uint64_t batch = std::max<std::uint64_t>(1, kPrefetchRun / copy_.row_bytes);
  while (announced_ + batch <= target || (announced_ < target && target == copy_.rows)) {
    const std::uint64_t begin = copy_.offset + announced_ * copy_.row_bytes;
    const std::uint64_t rows = std::min(batch, copy_.rows - announced_);
    if (gap >= kLongGap) {
      for (const ByteRange& range : copy_.kept) {
        file_.prefetch(begin + range.begin, range.length());
      }
    } else {
      file_.prefetch(begin, rows * copy_.row_bytes);
    }
    announced_ += rows;
  }
}

}  // namespace mnm
