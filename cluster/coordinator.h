// Rank 0 hands out tasks, takes results, and works too. The other ranks do the tasks that they are
// sent. Tasks and results are bytes; only the caller knows what they mean.
#pragma once

#include <functional>
#include <map>
#include <span>
#include <string>

#include "cluster/post.h"
#include "cluster/scheduler.h"
#include "model/progress.h"

namespace mnm {

// Does a task: its result. Called on a thread of its own, one task at a time. Where it throws
// DeviceLost, its rank is given no other task.
using Perform = std::function<std::string(const std::string& task, const ProgressSink& sink)>;

// Told each result: the number of its task, and what was made of it.
using Take = std::function<void(std::size_t task, const std::string& result)>;

struct Task {
  std::string body;
  double flops = 0;
};

// Rank 0's half.
class Coordinator {
 public:
  // The post outlives the coordinator. `say` gets a sentence when a rank is lost.
  Coordinator(Post& post, std::function<void(const std::string&)> say,
              SchedulerSettings settings = {});
  Coordinator(const Coordinator&) = delete;
  Coordinator& operator=(const Coordinator&) = delete;
  ~Coordinator();  // stops the other ranks; leaves together with them if none was lost

  // Each result once, as it comes, told to `take` on this thread. Throws what this rank's own tasks
  // throw, an Error that names the rank for what another's do, the scheduler's, and DeviceLost
  // where no rank is left. `progress` counts FLOPs.
  void run(std::span<const Task> tasks, const Perform& perform, const Take& take,
           const ProgressSink& progress);

 private:
  class Run;

  Post& post_;
  std::function<void(const std::string&)> say_;
  SchedulerSettings settings_;
  std::map<int, std::string> retired_;  // ranks whose device is lost, and what they said
  std::uint64_t first_number_ =
      0;  // of this run's tasks; results of an earlier run have smaller ones
  bool lost_ = false;
};

// The part of every other rank. Returns when rank 0 says stop. Error if rank 0 was silent for
// `silence` seconds.
void serve(Post& post, const Perform& perform, double silence);

}  // namespace mnm
