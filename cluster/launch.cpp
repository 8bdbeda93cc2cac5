#include "cluster/launch.h"

#include <charconv>
#include <cstdlib>

namespace mnm {

std::optional<Launch> launch_of(const std::function<std::string(const char*)>& variable) {
  struct Names {
    const char *rank, *size, *local_rank, *local_size;
  };
  // Open MPI first: under srun it sets its own beside Slurm's.
  static constexpr Names kLaunchers[] = {
      {"OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_RANK",
       "OMPI_COMM_WORLD_LOCAL_SIZE"},
      {"SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID", ""},
      {"PMI_RANK", "PMI_SIZE", "MPI_LOCALRANKID", "MPI_LOCALNRANKS"}};
  const auto number = [&](const char* name) -> std::optional<int> {
    const std::string text = *name == '\0' ? "" : variable(name);
    int value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || end != text.data() + text.size() || value < 0) return std::nullopt;
    return value;
  };
  for (const Names& names : kLaunchers) {
    const std::optional<int> rank = number(names.rank), size = number(names.size);
    if (!rank || !size || *size < 2 || *rank >= *size) continue;
    return Launch{*rank, *size, number(names.local_rank).value_or(0),
                  number(names.local_size).value_or(1)};
  }
  return std::nullopt;
}

std::optional<Launch> launch_of_this_process() {
  return launch_of([](const char* name) {
    const char* const value = std::getenv(name);
    return std::string(value == nullptr ? "" : value);
  });
}

}  // namespace mnm
