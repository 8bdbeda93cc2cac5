#include "extract/read_ahead.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "extract/slice_reader.h"

namespace mnm {
namespace {

constexpr std::uint64_t kBlock = SourceFile::kBlock;

std::uint64_t block_of(std::uint64_t offset) { return offset / kBlock * kBlock; }

// Of what can be held, in the file.
std::uint64_t offset_of(const TensorCopy& copy) { return copy.offset + copy.kept.front().begin; }

// What is held begins and ends in the middle of blocks; kAhead bytes are of at most so many slices
// that one step has room for these.
constexpr std::uint64_t kRing = ReadAhead::kAhead + ReadAhead::kStep;
static_assert((ReadAhead::kAhead / ReadAhead::kStep + 2) * 2 * kBlock <= ReadAhead::kStep);

}  // namespace

bool ReadAhead::can_hold(const TensorCopy& copy) {
  return copy.rows == 1 && copy.kept.size() == 1 && copy.bytes >= kStep;
}

bool ReadAhead::is_worth_holding(const Slice& slice) {
  return !slice.file->is_cached(offset_of(slice.copy), slice.copy.bytes);
}

void ReadAhead::ask_kernel(const Slice& slice, std::uint64_t begin, std::uint64_t end) {
  announce(*slice.file, slice.copy, begin, end);
}

ReadAhead::ReadAhead(std::vector<Slice> slices, Ways ways)
    : slices_(std::move(slices)),
      ways_(std::move(ways)),
      ring_(kRing),
      addresses_(slices_.size()),
      thread_([this](const std::stop_token& stop) { work(stop); }) {}

ReadAhead::~ReadAhead() = default;  // the thread's destructor asks it to stop, and waits

void ReadAhead::await(std::uint64_t position) {
  std::unique_lock lock(mutex_);
  changed_.wait(lock,
                [&] { return error_ || asked_ >= std::min(position, done_ + kAhead - kStep); });
  if (asked_ < position && error_) std::rethrow_exception(error_);
}

void ReadAhead::done(std::uint64_t position) {
  {
    const std::scoped_lock lock(mutex_);
    done_ = std::max(done_, position);
  }
  changed_.notify_all();
}

std::optional<BlockRing::Pieces> ReadAhead::held(std::size_t slice, std::uint64_t begin,
                                                 std::uint64_t end) {
  const std::scoped_lock lock(mutex_);
  const std::optional<std::uint64_t> address = addresses_.at(slice);
  if (!address) return std::nullopt;
  return ring_.at(*address + begin, *address + end);
}

void ReadAhead::work(const std::stop_token& stop) {
  std::exception_ptr error;
  try {
    for (std::size_t i = 0; i < slices_.size(); ++i) {
      if (!read(i, stop)) return;
    }
  } catch (...) {
    error = std::current_exception();
  }
  {
    const std::scoped_lock lock(mutex_);
    error_ = error;
    if (!error) asked_ = std::numeric_limits<std::uint64_t>::max();
  }
  changed_.notify_all();
}

// Whether it came to the slice's end.
bool ReadAhead::read(std::size_t number, const std::stop_token& stop) {
  const Slice& slice = slices_[number];
  std::optional<std::uint64_t> address;
  if (can_hold(slice.copy) && ways_.hold(slice)) {
    address = ring_end_ + offset_of(slice.copy) % kBlock;
    const std::scoped_lock lock(mutex_);
    addresses_[number] = address;
  }
  for (std::uint64_t begin = 0; begin < slice.copy.bytes;) {
    std::uint64_t end = std::min(begin + kStep, slice.copy.bytes);
    {
      std::unique_lock lock(mutex_);
      const auto wanted = [&] { return asked_ + (end - begin) <= done_ + kAhead; };
      if (!changed_.wait(lock, stop, wanted)) return false;
    }
    if (address) {
      end = begin + read_step(slice, *address, begin);
    } else {
      ways_.ask(slice, begin, end);
    }
    {
      const std::scoped_lock lock(mutex_);
      asked_ += end - begin;
    }
    changed_.notify_all();
    begin = end;
  }
  return true;
}

// Reads from `begin` of the slice on, to the end of a block or of the slice; returns how much.
std::uint64_t ReadAhead::read_step(const Slice& slice, std::uint64_t address, std::uint64_t begin) {
  const TensorCopy& copy = slice.copy;
  const std::uint64_t offset = offset_of(copy);
  std::uint64_t end = std::min(begin + kStep, copy.bytes);
  if (end < copy.bytes) end = block_of(offset + end) - offset;
  std::uint64_t from = block_of(offset + begin);
  const std::uint64_t to = block_of(offset + end + kBlock - 1);
  const std::uint64_t at = address + from - offset;
  for (const std::span<std::byte> piece : ring_.at(at, at + (to - from))) {
    slice.file->read_blocks(from, piece);
    from += piece.size();
  }
  ring_end_ = at + (to - block_of(offset + begin));
  return end - begin;
}

}  // namespace mnm
