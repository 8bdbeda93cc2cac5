// Which process owns a run, and whether it still lives.
#pragma once

#include <cstdint>
#include <string>

namespace mnm {

struct Process {
  std::string host;  // its name
  std::string boot;  // the kernel's boot id
  std::int64_t pid = 0;
  std::int64_t start = 0;  // clock ticks after boot; with the boot it tells reused numbers apart

  bool operator==(const Process&) const = default;
};

Process this_process();

// Whether that process runs on this machine now. Of another machine, or another boot of this one,
// nothing can be known: false.
bool alive(const Process& process);

}  // namespace mnm
