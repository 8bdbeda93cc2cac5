// What signals do to the program.
#pragma once

#include <string_view>

namespace mnm {

inline constexpr std::string_view kStopped =
    "stopped before the end; nothing of this command was kept";

// Installs the handlers. Ctrl-C ends a command with the sentence kStopped and exit status 1, until
// the command itself looks after its interruption (base/interrupt.h). A file that is cut short
// while it is read is a sentence, too, and a file that may not grow is an error of the write.
void handle_signals();

}  // namespace mnm
