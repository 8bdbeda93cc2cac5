// Progress on standard error: a bar on a terminal, else a line from time to time.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

#include "base/interrupt.h"
#include "base/progress.h"

namespace mnm {

class ProgressBar {
 public:
  explicit ProgressBar(std::string label);
  ProgressBar(const ProgressBar&) = delete;
  ProgressBar& operator=(const ProgressBar&) = delete;
  ~ProgressBar();  // removes the bar

  // Shows progress; `fraction` is in [0, 1]. Calling it often is cheap. It draws ten times a second
  // on a terminal, else it prints a line every ten seconds.
  void show(double fraction, std::string_view text);
  // Prints a line of its own, which stays.
  void note(std::string_view line);
  double seconds() const;  // since it was made

 private:
  using Clock = std::chrono::steady_clock;
  void clear();

  std::string label_;
  bool terminal_;
  bool drawn_ = false;
  Clock::time_point start_ = Clock::now(), last_ = start_;
};

// Seconds left if `fraction` of the work took `elapsed` seconds. Infinite if it is too early to
// tell.
double seconds_left(double fraction, double elapsed);

// Sinks that show a call on a bar, with the time that is left, and stop it once the guard has seen
// an interruption. Both outlive the sink. The second is of calls that count bytes, and shows
// "1.2GB of 8GB, 510MB/s, 13s left".
ProgressSink shown_on(ProgressBar& bar, const InterruptGuard& guard);
ProgressSink bytes_shown_on(ProgressBar& bar, const InterruptGuard& guard);
// The same on a bar "writing" in `bar`, which is there only while bytes are written.
ProgressSink writing_shown_on(std::optional<ProgressBar>& bar, const InterruptGuard& guard);

}  // namespace mnm
