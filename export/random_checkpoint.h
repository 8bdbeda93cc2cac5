// A checkpoint of any size with seeded random weights. Tests and benchmarks of large models use it
// where the models themselves are not available.
#pragma once

#include <cstdint>
#include <filesystem>

#include "export/huggingface.h"

namespace mnm {

// Writes the files of a plan at full width that copies no files, with the weights of RandomWeights,
// into an existing directory (an AtomicDirectory's path()). Memory stays flat whatever the size.
// Checks the space before the first byte. Progress counts to plan.bytes. The same plan and seed
// give the same bytes on every machine.
void write_random_checkpoint(const HuggingFacePlan& plan, std::uint64_t seed,
                             const std::filesystem::path& directory,
                             const ProgressSink& progress = {}, Flush flush = Flush::kToKernel);

}  // namespace mnm
