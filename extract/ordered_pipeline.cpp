#include "extract/ordered_pipeline.h"

#include <algorithm>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

namespace mnm {
namespace {

class Queue {
 public:
  explicit Queue(std::uint64_t parts) : parts_(parts) {}

  void work(PartWorker& worker) {
    while (const std::uint64_t next = take()) {
      const std::uint64_t part = next - 1;
      std::exception_ptr error;
      try {
        worker.prepare(part);
      } catch (...) {
        error = std::current_exception();
      }
      if (!await(part)) return;
      if (!error) {
        try {
          worker.finish(part);
        } catch (...) {
          error = std::current_exception();
        }
      }
      pass_on(error);
    }
  }

  void rethrow() const {
    if (error_) std::rethrow_exception(error_);
  }

 private:
  // A part's number plus one; 0 when there is none to do.
  std::uint64_t take() {
    const std::scoped_lock lock(mutex_);
    return error_ || taken_ == parts_ ? 0 : ++taken_;
  }

  // Until it is that part's turn; false if it will not come.
  bool await(std::uint64_t part) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return error_ || turn_ == part; });
    return !error_;
  }

  void pass_on(std::exception_ptr error) {
    {
      const std::scoped_lock lock(mutex_);
      error_ = std::move(error);
      ++turn_;
    }
    changed_.notify_all();
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  const std::uint64_t parts_;
  std::uint64_t taken_ = 0;   // parts handed out
  std::uint64_t turn_ = 0;    // the part that may be finished
  std::exception_ptr error_;  // of the first part that failed
};

}  // namespace

void run_in_order(std::uint64_t parts, unsigned threads,
                  const std::function<std::unique_ptr<PartWorker>()>& make_worker) {
  std::vector<std::unique_ptr<PartWorker>> workers;
  for (std::uint64_t i = 0; i < std::min<std::uint64_t>(parts, std::max(threads, 1u)); ++i) {
    workers.push_back(make_worker());
  }
  if (workers.empty()) return;
  Queue queue(parts);
  std::vector<std::jthread> others;
  others.reserve(workers.size());
  try {
    for (std::size_t i = 1; i < workers.size(); ++i) {
      others.emplace_back([&queue, &worker = *workers[i]] { queue.work(worker); });
    }
  } catch (const std::system_error&) {
    // No more threads to be had: those there are do it all.
  }
  queue.work(*workers.front());
  others.clear();
  queue.rethrow();
}

}  // namespace mnm
