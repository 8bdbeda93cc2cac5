// The clock of file times, which ticks every few milliseconds.
#pragma once

#include <ctime>

namespace mnm {

// `written` is the time when a file was written. If it lies in the present tick of the clock, waits
// until the tick is over. A writer that goes on within the same tick does not change the file's
// time; a writer that goes on after it does.
void let_tick_pass(const timespec& written);

}  // namespace mnm
