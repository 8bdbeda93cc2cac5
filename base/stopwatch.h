// How long something takes.
#pragma once

#include <chrono>

namespace mnm {

class Stopwatch {
 public:
  double seconds() const {  // since it was made
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
  }

 private:
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

}  // namespace mnm
