// What work costs, for tests that compare two costs of one machine with each other.
#pragma once

#include <time.h>

namespace mnm::test {

// The seconds of processor time that this thread spends in `work`.
template <typename Work>
double cpu_seconds(const Work& work) {
  const auto now = [] {
    timespec time{};
    ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
  };
  const double begin = now();
  work();
  return now() - begin;
}

}  // namespace mnm::test
