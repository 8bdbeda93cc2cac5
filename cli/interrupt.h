// Ctrl-C as a flag, which loops check between batches.
#pragma once

namespace mnm {

// From the first on, the first SIGINT, SIGTERM or SIGHUP only sets the flag; a second one ends the
// process as usual. That stays so when the guard is gone, so that a command whose work is done, and
// which only has to say so, succeeds. A SIGHUP that is ignored stays so. One at a time. A command
// makes its own before it prints anything: who sees it run may stop it.
class InterruptGuard {
 public:
  InterruptGuard();
  InterruptGuard(const InterruptGuard&) = delete;
  InterruptGuard& operator=(const InterruptGuard&) = delete;

  bool interrupted() const;
};

}  // namespace mnm
