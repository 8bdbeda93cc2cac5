// Who works on what, and what becomes of it when a worker is lost. Without messages and clocks:
// times are told, in seconds.
#pragma once

#include <cstddef>
#include <optional>
#include <vector>

namespace mnm {

struct SchedulerSettings {
  double silence = 30;  // seconds after which a worker that nothing was heard of counts as lost
  int attempts = 3;     // workers that a task may cost before it is given up
};

class Scheduler {
 public:
  // flops[i]: of task i. Workers are 0, 1, ..., all alive and idle, last heard of `now`.
  Scheduler(std::vector<double> flops, int workers, double now, SchedulerSettings settings = {});

  // What the worker is to begin now: the largest task that nobody has. Nothing where it is busy or
  // lost, or where none is left.
  std::optional<std::size_t> next(int worker);

  // The worker is alive, a lost one again, unless it is retired.
  void heard(int worker, double now);

  // The worker has done the task. False: somebody else had before, and the result is of no use.
  bool finish(int worker, std::size_t task, double now);

  // The worker counts as lost, and what it had goes to others. Error where a task has now cost too
  // many.
  void lose(int worker);
  // Likewise, and whatever is heard of it, it is given nothing more.
  void retire(int worker);
  // Loses those that nothing was heard of for too long, and says which.
  std::vector<int> lose_silent(double now);

  bool finished() const { return left_ == 0; }
  bool alive(int worker) const { return workers_.at(static_cast<std::size_t>(worker)).alive; }
  bool any_alive() const;
  std::optional<std::size_t> task_of(int worker) const;
  double flops_done() const { return flops_done_; }
  double flops(std::size_t task) const { return tasks_.at(task).flops; }

 private:
  struct Task {
    double flops = 0;
    bool done = false;
    int lost = 0;     // workers it was with when they were lost
    int holders = 0;  // workers that are at it; two where a lost one came back
  };
  struct Worker {
    bool alive = true, retired = false;
    double heard = 0;
    std::optional<std::size_t> task;
  };
  void let_go(Worker& worker);

  SchedulerSettings settings_;
  std::vector<Task> tasks_;
  std::vector<std::size_t> order_;  // by descending FLOPs
  std::vector<Worker> workers_;
  std::size_t left_ = 0;
  double flops_done_ = 0;
};

}  // namespace mnm
