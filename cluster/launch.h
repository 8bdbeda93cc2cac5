// Whether this process was started as one of several. The environment of its launcher tells.
#pragma once

#include <functional>
#include <optional>
#include <string>

namespace mnm {

struct Launch {
  int rank = 0, size = 1;              // of all
  int local_rank = 0, local_size = 1;  // of those on this machine
};

// `variable` returns the value of an environment variable, or an empty text. Open MPI, Slurm's
// srun, and MPICH's PMI are known. A batch script of Slurm is one process, whatever the size of the
// job. Nothing if the process was started alone.
std::optional<Launch> launch_of(const std::function<std::string(const char*)>& variable);
std::optional<Launch> launch_of_this_process();

}  // namespace mnm
