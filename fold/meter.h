// The progress of several threads, reported to one sink.
#pragma once

#include <algorithm>
#include <chrono>
#include <mutex>

#include "eval/scores.h"

namespace mnm {

// Calls the sink at most every 50 ms, one call at a time, with the FLOPs that are done and the
// total. After the sink asked to stop, every call of every thread throws Interrupted.
class Meter {
 public:
  Meter(const ProgressSink& sink, double total) : sink_(sink), total_(total) {}

  void add(double flops) {
    const std::lock_guard lock(mutex_);
    done_ += flops;
    if (stopped_) throw Interrupted();
    const auto now = std::chrono::steady_clock::now();
    if (now - last_ >= std::chrono::milliseconds(50)) report(now);
  }
  // Takes back work that has to be done again.
  double done() const { return done_; }
  void go_back(double done) {
    const std::lock_guard lock(mutex_);
    done_ = done;
  }
  void finish() {
    const std::lock_guard lock(mutex_);
    done_ = total_;
    report(std::chrono::steady_clock::now());
  }

 private:
  void report(std::chrono::steady_clock::time_point now) {
    last_ = now;
    stopped_ = sink_ && !sink_({std::min(done_, total_), total_});
    if (stopped_) throw Interrupted();
  }

  const ProgressSink& sink_;
  std::mutex mutex_;
  double total_, done_ = 0;
  bool stopped_ = false;
  std::chrono::steady_clock::time_point last_ = std::chrono::steady_clock::now();
};

}  // namespace mnm
