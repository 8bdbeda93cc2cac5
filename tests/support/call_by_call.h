// Runs work in a child that stops at every system call, and is killed at one of them. So a test
// visits every moment of it, however fast or busy the machine is.
#pragma once

#include <signal.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include <functional>
#include <stdexcept>

namespace mnm::test {

// Runs `work`, of one thread, in a child, and kills it at its stop number `fatal` from 0: a stop is
// the beginning or the end of a system call. Returns whether it was killed; false if the work had
// ended before. Throws where one process may not trace another.
inline bool killed_at(int fatal, const std::function<void()>& work) {
  const pid_t child = ::fork();
  if (child == 0) {
    if (::ptrace(PTRACE_TRACEME, 0, nullptr, nullptr) != 0) ::_exit(2);
    ::raise(SIGSTOP);
    try {
      work();
    } catch (...) {
      ::_exit(1);
    }
    ::_exit(0);
  }
  int status = 0;
  for (int stop = -1; ::waitpid(child, &status, 0) == child; ++stop) {
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return false;
    if (WIFEXITED(status)) throw std::runtime_error("the work failed, or cannot be traced");
    if (WIFSIGNALED(status)) return true;
    if (stop < 0) ::ptrace(PTRACE_SETOPTIONS, child, nullptr, PTRACE_O_EXITKILL);
    if (stop == fatal) ::kill(child, SIGKILL);
    ::ptrace(PTRACE_SYSCALL, child, nullptr, nullptr);
  }
  throw std::runtime_error("waitpid failed");
}

}  // namespace mnm::test
