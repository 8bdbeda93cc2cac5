// Which process owns a run, and whether it still lives.
#pragma once

#include <cstdint>
#include <string>

namespace mnm {

struct Process {
  std::string host;  // its name
  std::string boot;  // the kernel's boot id
  std::int64_t pid = 0;
  std::int64_t start = 0;  // clock ticks after boot; tells reused process numbers apart

  bool operator==(const Process&) const = default;
};

Process this_process();

// Whether that process is seen to run on this machine. Of another machine, another boot of this one
// or another container nothing can be known: false. See db/run_locks.h for these.
bool alive(const Process& process);

}  // namespace mnm
