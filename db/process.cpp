#include "db/process.h"

#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <fstream>
#include <iterator>
#include <sstream>

namespace mnm {
namespace {

std::string first_line(const std::string& path) {
  std::ifstream in(path);
  std::string line;
  std::getline(in, line);
  return line;
}

struct Stat {
  char state = 0;
  std::int64_t start = 0;
};

// Of /proc/PID/stat, proc(5): fields 3 and 22. The second is the program's name in parentheses and
// may hold anything. Nothing known of it: zeros.
Stat stat_of(std::int64_t pid) {
  const std::string line = first_line(fmt::format("/proc/{}/stat", pid));
  const std::size_t name_end = line.rfind(')');
  if (name_end == std::string::npos) return {};
  std::istringstream fields(line.substr(name_end + 1));
  Stat stat;
  fields >> stat.state;
  std::string skipped;
  for (int field = 4; field < 22; ++field) fields >> skipped;
  fields >> stat.start;
  return stat;
}

std::string boot_id() { return first_line("/proc/sys/kernel/random/boot_id"); }

}  // namespace

Process this_process() {
  std::array<char, 256> host{};
  if (gethostname(host.data(), host.size() - 1) != 0) host[0] = '\0';
  return {host.data(), boot_id(), getpid(), stat_of(getpid()).start};
}

bool alive(const Process& process) {
  if (process.boot != boot_id()) return false;
  const Stat stat = stat_of(process.pid);
  const bool ended = stat.state == 0 || stat.state == 'Z' || stat.state == 'X';
  return !ended && stat.start == process.start;
}

}  // namespace mnm
