#include "cluster/scheduler.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "base/error.h"

namespace mnm {

TaskScheduler::TaskScheduler(std::vector<double> flops, int workers, double now,
                             SchedulerSettings settings)
    : settings_(settings), order_(flops.size()), left_(flops.size()) {
  if (workers < 1) fail("cannot hand out work to {} workers", workers);
  for (const double f : flops) tasks_.push_back({.flops = f});
  std::iota(order_.begin(), order_.end(), std::size_t{0});
  std::ranges::stable_sort(order_, std::greater<>(), [&](std::size_t i) { return flops[i]; });
  workers_.resize(static_cast<std::size_t>(workers));
  for (Worker& worker : workers_) worker.heard = now;
}

std::optional<std::size_t> TaskScheduler::next(int index) {
  Worker& worker = workers_.at(static_cast<std::size_t>(index));
  if (!worker.alive || worker.task) return std::nullopt;
  for (const std::size_t i : order_) {
    Task& task = tasks_[i];
    if (task.done || task.holders > 0) continue;
    ++task.holders;
    worker.task = i;
    return i;
  }
  return std::nullopt;
}

void TaskScheduler::heard(int index, double now) {
  Worker& worker = workers_.at(static_cast<std::size_t>(index));
  worker.heard = now;
  if (worker.alive || worker.retired) return;
  worker.alive = true;  // it was slow, and is at its task still
  if (worker.task) ++tasks_[*worker.task].holders;
}

bool TaskScheduler::finish(int index, std::size_t id, double now) {
  heard(index, now);
  Worker& worker = workers_.at(static_cast<std::size_t>(index));
  if (worker.task == id) let_go(worker);
  Task& task = tasks_.at(id);
  if (task.done) return false;
  task.done = true;
  flops_done_ += task.flops;
  --left_;
  return true;
}

std::vector<int> TaskScheduler::lose_silent(double now) {
  std::vector<int> lost;
  for (std::size_t w = 0; w < workers_.size(); ++w) {
    Worker& worker = workers_[w];
    if (!worker.alive || now - worker.heard <= settings_.silence) continue;
    lost.push_back(static_cast<int>(w));
    lose(lost.back());
  }
  return lost;
}

void TaskScheduler::lose(int index) {
  Worker& worker = workers_.at(static_cast<std::size_t>(index));
  if (!std::exchange(worker.alive, false) || !worker.task) return;
  Task& task = tasks_[*worker.task];
  --task.holders;
  if (task.done || ++task.lost < settings_.attempts) return;
  fail(
      "{} workers were lost while they worked on the same part: it is given up; what is done is "
      "kept, and resuming redoes the rest",
      task.lost);
}

void TaskScheduler::retire(int index) {
  workers_.at(static_cast<std::size_t>(index)).retired = true;
  lose(index);
}

bool TaskScheduler::any_alive() const { return std::ranges::any_of(workers_, &Worker::alive); }

std::optional<std::size_t> TaskScheduler::task_of(int worker) const {
  return workers_.at(static_cast<std::size_t>(worker)).task;
}

void TaskScheduler::let_go(Worker& worker) {
  if (worker.alive) --tasks_[*worker.task].holders;
  worker.task.reset();
}

}  // namespace mnm
