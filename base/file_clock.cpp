#include "base/file_clock.h"

#include <chrono>
#include <thread>

namespace mnm {

void let_tick_pass(const timespec& written) {
  for (timespec now{};;) {
    // The clock that the kernel stamps files with.
    if (::clock_gettime(CLOCK_REALTIME_COARSE, &now) != 0) return;
    if (now.tv_sec != written.tv_sec || now.tv_nsec != written.tv_nsec) return;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
}

}  // namespace mnm
