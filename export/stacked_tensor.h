// How the files of a directory name the tensors of a submodel, where they do it otherwise.
#pragma once

#include <string>
#include <vector>

namespace mnm {

// One tensor of the files: tensors of the submodel, one below the other in this order. They have
// the same sizes but for the first.
struct StackedTensor {
  std::string name;                // in the files
  std::vector<std::string> parts;  // names in the submodel
};

}  // namespace mnm
