#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>

#include "cli/command.h"

namespace {

// A header is mapped while it is parsed; what is mapped of a file that somebody cuts short is no
// memory any more. All that a signal's handler may do is say so; what was unfinished has no final
// name yet.
extern "C" void mnm_on_lost_memory(int) {
  constexpr char kSentence[] =
      "mixnmatch: cannot go on: a file was cut short while it was read; try again when nothing "
      "writes to it\n";
  if (write(2, kSentence, sizeof kSentence - 1) < 0) _exit(1);
  _exit(1);
}

}  // namespace

int main(int count, char** words) {
  // A closed standard stream would give its number to the next file that is opened.
  for (int stream = 0; stream <= 2; ++stream) {
    if (fcntl(stream, F_GETFD) < 0) open("/dev/null", stream == 0 ? O_RDONLY : O_WRONLY);
  }
  // A checkpoint in hundreds of shards, each read in several ways, is more files than a program
  // gets who does not ask.
  rlimit files{};
  constexpr rlim_t kFiles = 1 << 16;
  if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur < kFiles) {
    files.rlim_cur = std::min(files.rlim_max, kFiles);
    setrlimit(RLIMIT_NOFILE, &files);
  }
  // A file that may not grow further is an error of the write, as a full disk is.
  std::signal(SIGXFSZ, SIG_IGN);
  std::signal(SIGBUS, &mnm_on_lost_memory);
  return mnm::run_program(mnm::Arguments(words + (count > 0 ? 1 : 0), words + count));
}
