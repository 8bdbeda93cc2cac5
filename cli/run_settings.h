// The settings of a run, which the store keeps for --resume. They are the options on which its
// results depend, each with the texts that the user gave.
#pragma once

#include <string>

#include "cli/options.h"
#include "db/store.h"

namespace mnm {

// Paths become absolute. UsageError if a path is not UTF-8, because texts of the store must be.
std::string run_settings(const OptionTable& options);

// Sets the options as `run` had them. UsageError if the run is of another command, or if the
// command line contradicts the run. Paths may differ, because fingerprints are checked.
void restore_settings(OptionTable& options, const std::string& command, const RunRow& run);

}  // namespace mnm
