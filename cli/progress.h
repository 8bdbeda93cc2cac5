// Progress on standard error: a bar where that is a terminal, else a line now and then.
#pragma once

#include <chrono>
#include <string>
#include <string_view>

namespace mnm {

class ProgressBar {
 public:
  explicit ProgressBar(std::string label);
  ProgressBar(const ProgressBar&) = delete;
  ProgressBar& operator=(const ProgressBar&) = delete;
  ~ProgressBar();  // the bar is taken away

  // `fraction` in [0, 1]. Cheap to call often: draws ten times a second, or a line every ten.
  void show(double fraction, std::string_view text);
  // A line of its own, which stays.
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

// Seconds left, where `fraction` took `elapsed`; infinite where that says nothing yet.
double seconds_left(double fraction, double elapsed);

}  // namespace mnm
