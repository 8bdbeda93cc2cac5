// Slices that will be needed one after another, read from the disk before they are.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <stop_token>
#include <thread>
#include <vector>

#include "extract/copy_plan.h"
#include "extract/source_file.h"

namespace mnm {

// The kernel's own reading ahead knows no cuts: it reads on past the end of what is kept, and comes
// to a stop where the next slice begins. A thread of this one's asks the kernel for the slices' own
// bytes, a bounded stretch ahead, across their borders. Positions are bytes of all slices together.
class ReadAhead {
 public:
  struct Slice {
    const SourceFile* file = nullptr;
    TensorCopy copy;
  };
  using Ask = std::function<void(const Slice&, std::uint64_t begin, std::uint64_t end)>;
  static void ask_kernel(const Slice& slice, std::uint64_t begin, std::uint64_t end);

  // The files must outlive it. Throws std::system_error where no thread is to be had.
  explicit ReadAhead(std::vector<Slice> slices, Ask ask = ask_kernel);
  ReadAhead(const ReadAhead&) = delete;
  ReadAhead& operator=(const ReadAhead&) = delete;
  ~ReadAhead();

  // Until the kernel has been asked for all before `position`, or for as much as it is before more
  // is done: between kAhead - kStep and kAhead.
  void await(std::uint64_t position);
  void done(std::uint64_t position);  // what lies before it is needed no more

  static constexpr std::uint64_t kAhead = 32u << 20;
  static constexpr std::uint64_t kStep = 1u << 20;  // that is asked for at a time

 private:
  void work(const std::stop_token& stop);

  std::vector<Slice> slices_;
  Ask ask_;
  std::mutex mutex_;
  std::condition_variable_any changed_;
  std::uint64_t asked_ = 0, done_ = 0;
  std::jthread thread_;
};

}  // namespace mnm
