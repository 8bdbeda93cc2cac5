// The clock of files' times, which ticks every few milliseconds.
#pragma once

#include <ctime>

namespace mnm {

// Waits until the tick is over that `written`, the time when a file was written, lies in, if it is
// the present one. A writer that goes on within it leaves the time as it is; one that goes on after
// it does not.
void let_tick_pass(const timespec& written);

}  // namespace mnm
