// What `export --explain` prints.
#pragma once

#include "artifact/explain.h"

namespace mnm {

void print_explanation(const Explanation& explanation, bool json);  // on standard output

}  // namespace mnm
