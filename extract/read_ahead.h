// Reads slices from the disk before they are needed, one after another.
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

// The kernel's own read-ahead does not know the slices. It reads on past the end of a slice, and
// stops where the next slice begins. Here a thread reads exactly the bytes of the slices, across
// their borders, up to kAhead bytes ahead. It asks the kernel for bytes that the page cache has,
// and for slices that lie in many places. It reads the other slices itself, with
// SourceFile::read_blocks, and holds their bytes. Positions count the bytes of all slices together.
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
  // Whether the slice can be held: it must be one long run of bytes in the file.
  static bool can_hold(const TensorCopy& copy);

  // The files must outlive this object. Throws std::system_error if no thread can be started.
  explicit ReadAhead(std::vector<Slice> slices) : ReadAhead(std::move(slices), Ways()) {}
  ReadAhead(std::vector<Slice> slices, Ways ways);
  ReadAhead(const ReadAhead&) = delete;
  ReadAhead& operator=(const ReadAhead&) = delete;
  ~ReadAhead();

  // Waits until everything before `position` is read or asked for, or as much as can be read before
  // more is done: between kAhead - kStep and kAhead bytes. Error if it cannot be read.
  void await(std::uint64_t position);
  void done(std::uint64_t position);  // nothing before it is needed any more

  // Bytes [begin, end) of the slice with that number, if this object holds them. They are valid
  // after await() for them and until done() with them. A request reaches at most kAhead - kStep
  // beyond what is done. Nothing for slices that are not held.
  std::optional<BlockRing::Pieces> held(std::size_t slice, std::uint64_t begin, std::uint64_t end);

  static constexpr std::uint64_t kAhead = 32u << 20;
  static constexpr std::uint64_t kStep = 1u << 20;  // bytes that are read at a time

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
