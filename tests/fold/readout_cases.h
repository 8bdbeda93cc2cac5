// What the readout is tried on, wherever it runs.
#pragma once

#include <cstdint>

namespace mnm::test {

struct ReadoutCase {
  std::int64_t nodes, sequences, context, vocab;
  bool scored;  // some positions only
};
inline const ReadoutCase kReadoutCases[] = {{1, 1, 1, 1, false},
                                            {3, 2, 5, 13, false},
                                            {4, 3, 4, 29, true},
                                            {2, 1, 7, 9, false},
                                            {1, 2, 3, 700, true}};

}  // namespace mnm::test
