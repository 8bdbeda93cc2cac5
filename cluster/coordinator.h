// Rank 0 hands out tasks, takes results, and works too. The other ranks do the tasks that they are
// sent. Tasks and results are bytes; only the caller knows what they mean.
#pragma once

#include <functional>
#include <map>
#include <span>
#include <string>

#include "base/progress.h"
#include "cluster/post.h"
#include "cluster/scheduler.h"

namespace mnm {

// Does a task and returns its result. It is called on a thread of its own, for one task at a time.
// If it throws DeviceLost, its rank gets no other task.
using Perform = std::function<std::string(const std::string& task, const ProgressSink& sink)>;

// Is called with each result and the number of its task.
using Take = std::function<void(std::size_t task, const std::string& result)>;

struct Task {
  std::string body;
  double flops = 0;  // how much work it is
};

// Rank 0's part.
class Coordinator {
 public:
  // The post outlives the coordinator. `say` gets a sentence when a rank is lost.
  Coordinator(Post& post, std::function<void(const std::string&)> say,
              SchedulerSettings settings = {});
  Coordinator(const Coordinator&) = delete;
  Coordinator& operator=(const Coordinator&) = delete;
  // Tells the other ranks to stop. If none was lost, it leaves the job together with them.
  ~Coordinator();

  // Has all tasks done. Calls `take` on this thread, once for each result, as the results come.
  // `progress` counts FLOPs. It throws
  //
  // - what this rank's own tasks throw;
  // - an Error that names the rank, if a task of another rank throws;
  // - the scheduler's Error, if a task has cost too many ranks;
  // - DeviceLost, if no rank is left.
  void run(std::span<const Task> tasks, const Perform& perform, const Take& take,
           const ProgressSink& progress);

 private:
  class Run;

  Post& post_;
  std::function<void(const std::string&)> say_;
  SchedulerSettings settings_;
  std::map<int, std::string> retired_;  // ranks whose device is lost, and what they said
  // The number of the first task of this run. Results of an earlier run have smaller numbers.
  std::uint64_t first_number_ = 0;
  bool lost_ = false;  // whether a rank was lost
};

// The part of every other rank. Returns when rank 0 says stop. Error if rank 0 was silent for
// `silence` seconds.
void serve(Post& post, const Perform& perform, double silence);

}  // namespace mnm
