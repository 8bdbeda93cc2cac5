#include "extract/read_ahead.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "extract/slice_reader.h"

namespace mnm {

void ReadAhead::ask_kernel(const Slice& slice, std::uint64_t begin, std::uint64_t end) {
  announce(*slice.file, slice.copy, begin, end);
}

ReadAhead::ReadAhead(std::vector<Slice> slices, Ask ask)
    : slices_(std::move(slices)),
      ask_(std::move(ask)),
      thread_([this](const std::stop_token& stop) { work(stop); }) {}

ReadAhead::~ReadAhead() = default;  // the thread's destructor asks it to stop, and waits

void ReadAhead::await(std::uint64_t position) {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return asked_ >= std::min(position, done_ + kAhead - kStep); });
}

void ReadAhead::done(std::uint64_t position) {
  {
    const std::scoped_lock lock(mutex_);
    done_ = std::max(done_, position);
  }
  changed_.notify_all();
}

void ReadAhead::work(const std::stop_token& stop) {
  std::uint64_t asked = 0;
  for (const Slice& slice : slices_) {
    for (std::uint64_t begin = 0; begin < slice.copy.bytes;) {
      const std::uint64_t end = std::min(begin + kStep, slice.copy.bytes);
      {
        std::unique_lock lock(mutex_);
        const auto wanted = [&] { return asked + (end - begin) <= done_ + kAhead; };
        if (!changed_.wait(lock, stop, wanted)) return;
      }
      ask_(slice, begin, end);
      asked += end - begin;
      begin = end;
      {
        const std::scoped_lock lock(mutex_);
        asked_ = asked;
      }
      changed_.notify_all();
    }
  }
  {
    const std::scoped_lock lock(mutex_);
    asked_ = std::numeric_limits<std::uint64_t>::max();
  }
  changed_.notify_all();
}

}  // namespace mnm
