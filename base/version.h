// What this build calls itself.
#pragma once

#include <string>

namespace mnm {

std::string version();  // "0.2.0"

// "mixnmatch 0.2.0 (g++ 12.2.0, Release)": what the store keeps with every run.
std::string build_text();

}  // namespace mnm
