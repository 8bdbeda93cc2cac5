// Whether this process was started as one of several, as its launcher's environment tells.
#pragma once

#include <functional>
#include <optional>
#include <string>

namespace mnm {

struct Launch {
  int rank = 0, size = 1;              // of all
  int local_rank = 0, local_size = 1;  // of those on this machine
};

// `variable`: the value of an environment variable, empty where it is not set. Open MPI, Slurm's
// srun (not its batch script, which is one process whatever the job's size), and MPICH's PMI are
// known. Nothing where it was started alone.
std::optional<Launch> launch_of(const std::function<std::string(const char*)>& variable);
std::optional<Launch> launch_of_this_process();

}  // namespace mnm
