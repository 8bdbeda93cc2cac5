// Who works on which task, and what happens to the task when its worker is lost. It uses no
// messages and no clock: the caller tells it the time, in seconds.
#pragma once

#include <cstddef>
#include <optional>
#include <vector>

namespace mnm {

struct SchedulerSettings {
  double silence = 30;  // seconds without a sign of life, after which a worker counts as lost
  int attempts = 3;     // lost workers after which a task is given up
};

class TaskScheduler {
 public:
  // flops[i] is the size of task i. Workers are 0, 1, ...; all are alive and idle, and last heard
  // at `now`.
  TaskScheduler(std::vector<double> flops, int workers, double now,
                SchedulerSettings settings = {});

  // The task that the worker is to begin now: the largest that nobody has. Nothing if the worker is
  // busy or lost, or no task is left.
  std::optional<std::size_t> next(int worker);

  // The worker is alive. A lost worker becomes alive again, unless it is retired.
  void heard(int worker, double now);

  // The worker has done the task. False: another worker had done it before, and the result is not
  // needed.
  bool finish(int worker, std::size_t task, double now);

  // The worker counts as lost, and its task goes to another. Error if the task has now cost too
  // many workers.
  void lose(int worker);
  // The same; and the worker gets no task any more, even if it is heard again.
  void retire(int worker);
  // Loses the workers that were silent for too long, and returns them.
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
    int holders = 0;  // workers that work on it; two if a lost one came back
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
