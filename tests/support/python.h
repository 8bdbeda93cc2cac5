// Python scripts as judges, run by the virtual environment that `scripts/setup test` makes.
#pragma once

#include <fmt/format.h>

#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

#include "tests/support/temp_dir.h"

namespace mnm::test {

// Whether the environment has a program of that name, which a package brings along.
inline bool python_has(const std::string& program) {
  return std::filesystem::exists(MNM_SOURCE_DIR "/.venv/bin/" + program);
}
// Why a test with such a judge is skipped. `scripts/test`, and so CI, installs them all before it
// builds, and skips none of these: they are skipped in a build made by scripts/setup alone.
inline constexpr const char* kNoPython =
    "its Python packages are not installed: scripts/setup test";

// Empty where tests/`script` exits with 0, else what it says. Looks nothing up on a network, and
// leaves what it caches in `scratch`. What Python compiles is kept in build/pycache. With it
// the next judge imports transformers in half of the time.
inline std::string python_failure(const std::string& script,
                                  const std::vector<std::filesystem::path>& arguments,
                                  const TempDir& scratch) {
  std::string command = fmt::format(
      "HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1 HF_MODULES_CACHE='{1}/modules' "
      "PYTHONDONTWRITEBYTECODE= PYTHONPYCACHEPREFIX='{0}/build/pycache' "
      "PYTHONPATH='{0}/tests/support' '{0}/.venv/bin/python' '{0}/tests/{2}'",
      MNM_SOURCE_DIR, scratch.path().string(), script);
  for (const auto& argument : arguments) command += fmt::format(" '{}'", argument.string());
  const std::filesystem::path log = scratch / "log";
  const int status = std::system(fmt::format("{} > '{}' 2>&1", command, log.string()).c_str());
  return status == 0 ? "" : fmt::format("status {}: {}", status, slurp(log));
}

}  // namespace mnm::test
