// Rank 0 hands out tasks, takes results, and works too. The other ranks do the tasks that they are
// sent. Tasks and results are bytes; only the caller knows what they mean.
#pragma once

#include <functional>
#include <map>
#include <span>
#include <string>

#include "cluster/post.h"
#include "cluster/scheduler.h"

namespace mnm {

// Gets the share of the work that is done, from time to time. Returns false to stop.
using ShareSink = std::function<bool(double)>;
// Does a task and returns its result. It is called on a thread of its own, one task at a time. If
// the sink says stop, it throws what it likes. If it throws DeviceLost, its rank gets no other
// task.
using Perform = std::function<std::string(const std::string& task, const ShareSink& sink)>;

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

  // Does all tasks. `take` gets each result once, as it comes, on this thread. Throws what this
  // rank's own tasks throw, an Error that names the rank if another rank's task failed, the
  // scheduler's Error, and DeviceLost if no rank is left. Returns false if the sink said stop.
  bool run(std::span<const Task> tasks, const Perform& perform,
           const std::function<void(std::size_t, const std::string&)>& take, const ShareSink& sink);

 private:
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
