#include "base/version.h"

#include <fmt/format.h>

namespace mnm {

std::string version() { return MNM_VERSION; }

std::string build_text() {
  return fmt::format("mixnmatch {} (g++ {}, {})", MNM_VERSION, __VERSION__, MNM_BUILD_TYPE);
}

}  // namespace mnm
