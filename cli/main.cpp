#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>

#include "cli/command.h"

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
  return mnm::run_program(mnm::Arguments(words + (count > 0 ? 1 : 0), words + count));
}
