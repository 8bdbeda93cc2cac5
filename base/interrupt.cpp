#include "base/interrupt.h"

#include <atomic>
#include <csignal>

namespace mnm {
namespace {

std::atomic<int> flag = 0;  // read by the threads that score, too
static_assert(std::atomic<int>::is_always_lock_free);

extern "C" void mnm_on_signal(int number) {
  flag = 1;
  std::signal(number, SIG_DFL);
}

}  // namespace

InterruptGuard::InterruptGuard() {
  flag = 0;
  struct sigaction action {};
  action.sa_handler = &mnm_on_signal;
  action.sa_flags = SA_RESTART;
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
  struct sigaction hangup {};  // nohup has it ignored, and means it
  if (sigaction(SIGHUP, nullptr, &hangup) == 0 && hangup.sa_handler != SIG_IGN) {
    sigaction(SIGHUP, &action, nullptr);
  }
}

bool InterruptGuard::interrupted() { return flag != 0; }

}  // namespace mnm
