// Ctrl-C as a flag, which loops check between batches.
#pragma once

namespace mnm {

// Once a guard was made, the first SIGINT, SIGTERM or SIGHUP only sets a flag. A second signal ends
// the process as usual. This stays so when the guard is gone, so that a command succeeds if its
// work is done and it only has to say so. A SIGHUP that is ignored stays ignored. There is at most
// one guard at a time. A command makes its guard before it prints anything, because whoever sees
// the output may stop it.
class InterruptGuard {
 public:
  InterruptGuard();
  InterruptGuard(const InterruptGuard&) = delete;
  InterruptGuard& operator=(const InterruptGuard&) = delete;

  static bool interrupted();
};

}  // namespace mnm
