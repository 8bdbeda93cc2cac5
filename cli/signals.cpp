#include "cli/signals.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>

#include "base/interrupt.h"

namespace mnm {
namespace {

// All that a signal's handler may do is write a sentence that was made before, and end the process.
// What was unfinished has no final name yet.
[[noreturn]] void end_with(std::string_view sentence) {
  if (write(2, sentence.data(), sentence.size()) < 0) _exit(1);
  _exit(1);
}

extern "C" void mnm_on_lost_memory(int) {
  end_with(
      "mixnmatch: cannot go on: a file was cut short while it was read; try again when nothing "
      "writes to it\n");
}

void end_stopped() {
  static constexpr std::string_view kProgram = "mixnmatch: ";
  static constexpr auto kSentence = [] {
    std::array<char, kProgram.size() + kStopped.size() + 1> text{};
    std::ranges::copy(kProgram, text.begin());
    std::ranges::copy(kStopped, text.begin() + kProgram.size());
    text.back() = '\n';
    return text;
  }();
  end_with({kSentence.data(), kSentence.size()});
}

}  // namespace

void handle_signals() {
  // A file that may not grow further is an error of the write, as a full disk is.
  std::signal(SIGXFSZ, SIG_IGN);
  // A header is mapped while it is parsed; what is mapped of a file that somebody cuts short is no
  // memory any more.
  std::signal(SIGBUS, &mnm_on_lost_memory);
  handle_interrupts(&end_stopped);
}

}  // namespace mnm
