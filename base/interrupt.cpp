#include "base/interrupt.h"

#include <atomic>
#include <csignal>

namespace mnm {
namespace {

using End = void (*)();

std::atomic<bool> deferred = false, signalled = false;  // read by the threads that score, too
std::atomic<End> end_at_once = nullptr;
static_assert(std::atomic<bool>::is_always_lock_free && std::atomic<End>::is_always_lock_free);

extern "C" void mnm_on_signal(int number) {
  if (!deferred) end_at_once.load()();
  signalled = true;
  std::signal(number, SIG_DFL);
}

}  // namespace

void handle_interrupts(End end) {
  end_at_once = end;
  deferred = signalled = false;
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

void defer_interrupts() { deferred = true; }

bool InterruptGuard::interrupted() { return signalled; }

}  // namespace mnm
