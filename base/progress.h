// How far a long call is, and how it is stopped. Every call of these libraries does it in one way:
// it takes a ProgressSink, tells it now and then how much is done, and throws Stopped once the sink
// has returned false.
#pragma once

#include <algorithm>
#include <chrono>
#include <functional>
#include <mutex>

#include "base/error.h"

namespace mnm {

struct Progress {
  double done = 0, total = 1;  // in the call's own unit: FLOPs, bytes, steps

  double share() const { return total > 0 ? std::min(1.0, done / total) : 1.0; }
};

// An empty sink is never asked, and never stops a call.
using ProgressSink = std::function<bool(const Progress&)>;

// A sink asked to stop. The caller knows that already, so this is no failure.
class Stopped : public Error {
 public:
  Stopped() : Error("stopped, as the caller asked") {}
};

// Writers of files report every step: there are few, and each may be the last that is wanted.
constexpr std::chrono::milliseconds kEveryStep(0);

// The work of several threads, told to one sink: one call at a time, and at most one per interval.
// After the sink asked to stop, and after stop(), every call of every thread throws Stopped.
class Meter {
 public:
  using Interval = std::chrono::milliseconds;

  // The sink outlives it.
  Meter(const ProgressSink& sink, double total, Interval interval = Interval(50))
      : sink_(sink), total_(total), interval_(interval) {}

  void add(double work) {
    const std::lock_guard lock(mutex_);
    done_ += work;
    if (stopped_) throw Stopped();
    const auto now = std::chrono::steady_clock::now();
    if (now - last_ >= interval_) report(now);
  }
  // Work that has to be done again.
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
  void stop() {
    const std::lock_guard lock(mutex_);
    stopped_ = true;
  }

 private:
  void report(std::chrono::steady_clock::time_point now) {
    last_ = now;
    stopped_ = sink_ && !sink_({done_, total_});
    if (stopped_) throw Stopped();
  }

  const ProgressSink& sink_;
  std::mutex mutex_;
  double total_, done_ = 0;
  Interval interval_;
  bool stopped_ = false;
  std::chrono::steady_clock::time_point last_ = std::chrono::steady_clock::now();
};

}  // namespace mnm
