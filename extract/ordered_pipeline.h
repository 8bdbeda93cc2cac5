// Work in parts whose results must come out in order: parts are prepared side by side by several
// threads, and finished one after another. So reading overlaps writing, and the bytes are those of
// one thread.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

namespace mnm {

// What one thread does; it holds that thread's buffers.
class PartWorker {
 public:
  virtual ~PartWorker() = default;
  virtual void prepare(std::uint64_t part) = 0;  // at the same time as other workers
  virtual void finish(std::uint64_t part) = 0;   // after finish() of all earlier parts, alone
};

// Does parts [0, parts) with at most `threads` workers, of which the calling thread is one; fewer
// where the system grants no more threads. What the first failing part throws is thrown again, and
// no later part is finished.
void run_in_order(std::uint64_t parts, unsigned threads,
                  const std::function<std::unique_ptr<PartWorker>()>& make_worker);

}  // namespace mnm
