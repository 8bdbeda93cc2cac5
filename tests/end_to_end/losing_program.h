// The built program beside an engine whose CPU is lost as a CUDA device is, after so many products
// (tests/support/losing_device.h).
#pragma once

#include <cstdlib>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "tests/end_to_end/program.h"
#include "tests/support/temp_dir.h"

namespace mnm::test {

// While one lives, programs that are started have its environment.
class LosingProgram {
 public:
  explicit LosingProgram(std::int64_t products, const std::string& ranks = "") {
    namespace fs = std::filesystem;
    fs::copy_file(mixnmatch_argv({}).front(), dir_ / "mixnmatch");
    fs::create_symlink(MNM_LOSING_ENGINE, dir_ / "libmnm_engine_cpu.so");
    const fs::path mpi = fs::path(MNM_BINARY_DIR) / "lib" / "libmnm_mpi.so";
    if (fs::exists(mpi)) fs::create_symlink(mpi, dir_ / "libmnm_mpi.so");
    setenv("MNM_TEST_PRODUCTS", std::to_string(products).c_str(), 1);
    if (!ranks.empty()) setenv("MNM_TEST_LOST_RANKS", ranks.c_str(), 1);
  }
  LosingProgram(const LosingProgram&) = delete;
  LosingProgram& operator=(const LosingProgram&) = delete;
  ~LosingProgram() {
    unsetenv("MNM_TEST_PRODUCTS");
    unsetenv("MNM_TEST_LOST_RANKS");
  }

  std::vector<std::string> argv(std::vector<std::string> arguments) const {
    arguments.insert(arguments.begin(), (dir_ / "mixnmatch").string());
    return arguments;
  }

 private:
  TempDir dir_;
};

}  // namespace mnm::test
