#include <fcntl.h>
#include <unistd.h>

#include <csignal>

#include "cli/command.h"

int main(int count, char** words) {
  // A closed standard stream would give its number to the next file that is opened.
  for (int stream = 0; stream <= 2; ++stream) {
    if (fcntl(stream, F_GETFD) < 0) open("/dev/null", stream == 0 ? O_RDONLY : O_WRONLY);
  }
  // A file that may not grow further is an error of the write, as a full disk is.
  std::signal(SIGXFSZ, SIG_IGN);
  return mnm::run_program(mnm::Arguments(words + (count > 0 ? 1 : 0), words + count));
}
