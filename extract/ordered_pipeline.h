// Work in parts whose results must come out in order. Several threads prepare parts at the same
// time, and the parts are finished one after another. So reading overlaps writing, and the bytes do
// not depend on the number of threads.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

namespace mnm {

// The work of one thread. It holds that thread's buffers.
class PartWorker {
 public:
  virtual ~PartWorker() = default;
  virtual void prepare(std::uint64_t part) = 0;  // at the same time as other workers
  virtual void finish(std::uint64_t part) = 0;   // after finish() of all earlier parts, alone
};

// Does parts [0, parts) with at most `threads` workers. The calling thread is one of them. There
// are fewer if the system grants no more threads. If a part throws, no later part is finished, and
// what the first such part threw is thrown again.
void run_in_order(std::uint64_t parts, unsigned threads,
                  const std::function<std::unique_ptr<PartWorker>()>& make_worker);

}  // namespace mnm
