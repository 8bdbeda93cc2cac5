// Ctrl-C: what the first SIGINT, SIGTERM or SIGHUP of a process does. A second one ends it as
// usual.
#pragma once

namespace mnm {

// From now on such a signal calls `end` in the signal's handler. So `end` may call only what is
// async-signal-safe, and it does not return. After defer_interrupts() a signal only sets a flag. A
// SIGHUP that is ignored stays ignored. run_program (cli/command.h) calls this before a command
// runs, so that every command can be stopped at any time.
void handle_interrupts(void (*end)());

// From now on a first signal only sets the flag that InterruptGuard reads. This stays so to the end
// of the process, so that a command succeeds if its work is done and it only has to say so. The
// writers of base/file.h call it, because a process that is ended at once leaves a part of a file.
void defer_interrupts();

// The flag, for loops that check it between batches. Making a guard defers interrupts.
class InterruptGuard {
 public:
  InterruptGuard() { defer_interrupts(); }
  InterruptGuard(const InterruptGuard&) = delete;
  InterruptGuard& operator=(const InterruptGuard&) = delete;

  static bool interrupted();
};

}  // namespace mnm
