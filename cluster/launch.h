// Whether this process was started as one of several. The environment of its launcher tells.
#pragma once

#include <functional>
#include <optional>
#include <string>

namespace mnm {

// The number of this process, and how many there are.
struct Launch {
  int rank = 0, size = 1;              // among all processes of the job
  int local_rank = 0, local_size = 1;  // among those on this machine
};

// Nothing if the process was started alone. `variable` returns the value of an environment
// variable, or an empty text. The launchers Open MPI, Slurm's srun and MPICH (its PMI) are known. A
// program that a batch script of Slurm starts without srun is alone, whatever the size of the job.
std::optional<Launch> launch_of(const std::function<std::string(const char*)>& variable);
std::optional<Launch> launch_of_this_process();

}  // namespace mnm
