// Slices that will be needed one after another, read from the disk before they are.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <exception>
#include <functional>
#include <mutex>
#include <optional>
#include <stop_token>
#include <thread>
#include <vector>

#include "extract/block_ring.h"
#include "extract/copy_plan.h"
#include "extract/source_file.h"

namespace mnm {

// The kernel's own reading ahead knows no cuts: it reads on past the end of what is kept, and comes
// to a stop where the next slice begins. A thread of this one's reads the slices' own bytes, a
// bounded stretch ahead, across their borders. What the page cache has, or had better read because
// it lies in many places, it asks the kernel for; the rest it holds itself, as
// SourceFile::read_blocks gives it. Positions are bytes of all slices
// together.
class ReadAhead {
 public:
  struct Slice {
    const SourceFile* file = nullptr;
    TensorCopy copy;
  };
  // How a slice is read, and how the kernel is asked for bytes [begin, end) of it.
  struct Ways {
    std::function<bool(const Slice&)> hold = is_worth_holding;
    std::function<void(const Slice&, std::uint64_t begin, std::uint64_t end)> ask = ask_kernel;
  };
  static bool is_worth_holding(const Slice& slice);
  static void ask_kernel(const Slice& slice, std::uint64_t begin, std::uint64_t end);
  // Whether it could be held: one stretch of the file, and a long one.
  static bool can_hold(const TensorCopy& copy);

  // The files must outlive it. Throws std::system_error where no thread is to be had.
  explicit ReadAhead(std::vector<Slice> slices) : ReadAhead(std::move(slices), Ways()) {}
  ReadAhead(std::vector<Slice> slices, Ways ways);
  ReadAhead(const ReadAhead&) = delete;
  ReadAhead& operator=(const ReadAhead&) = delete;
  ~ReadAhead();

  // Until all before `position` is read or asked for, or as much as it is before more is done:
  // between kAhead - kStep and kAhead. Error where it cannot be read.
  void await(std::uint64_t position);
  void done(std::uint64_t position);  // what lies before it is needed no more

  // Bytes [begin, end) of the slice with that number, where this holds them: after await() for
  // them, until done() with them; at most kAhead - kStep from what is done on. Of other slices,
  // nothing.
  std::optional<BlockRing::Pieces> held(std::size_t slice, std::uint64_t begin, std::uint64_t end);

  static constexpr std::uint64_t kAhead = 32u << 20;
  static constexpr std::uint64_t kStep = 1u << 20;  // that is read at a time

 private:
  void work(const std::stop_token& stop);
  bool read(std::size_t number, const std::stop_token& stop);
  std::uint64_t read_step(const Slice& slice, std::uint64_t address, std::uint64_t begin);

  std::vector<Slice> slices_;
  Ways ways_;
  BlockRing ring_;
  std::uint64_t ring_end_ = 0;  // address after what was read last; the thread's
  std::mutex mutex_;
  std::condition_variable_any changed_;
  std::vector<std::optional<std::uint64_t>> addresses_;  // of the slices' first bytes in ring_
  std::uint64_t asked_ = 0, done_ = 0;
  std::exception_ptr error_;
  std::jthread thread_;
};

}  // namespace mnm
