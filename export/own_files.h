// Which directories this program wrote, so that --force replaces no others.
#pragma once

#include <filesystem>
#include <string>

namespace mnm {

// Nothing where every file of `directory` has a name that exports, `random` and `train` write, and
// one of them says that this program wrote it: the key "mixnmatch" of config.json, the probe, or
// the metadata of a GGUF or ONNX model. Else the reason, with the first file that is foreign.
std::string why_not_ours(const std::filesystem::path& directory);

}  // namespace mnm
