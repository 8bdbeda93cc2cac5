// The settings of a run, as the store keeps them for --resume: the options that make a run the run
// it is, each with the texts that the user gave.
#pragma once

#include <string>

#include "cli/options.h"
#include "db/store.h"

namespace mnm {

// Paths become absolute. UsageError where a path is not UTF-8, which the store's text has to be.
std::string run_settings(const OptionTable& options);

// Sets the options as `run` had them. UsageError where the run is of another command, and where the
// command line says otherwise; paths may differ, since fingerprints are checked.
void restore_settings(OptionTable& options, const std::string& command, const RunRow& run);

}  // namespace mnm
