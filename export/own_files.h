// Recognises directories that this program wrote, so that --force replaces no others.
#pragma once

#include <filesystem>
#include <string>

namespace mnm {

// The reason why `directory` may not be replaced, with the first foreign file. Empty if this
// program wrote the directory: every file has a name that exports, `random`, `train` and `images`
// write, and one of the files says that this program wrote it. It says so by the key "mixnmatch" of
// config.json or set.json, by the probe, or by the metadata of a GGUF or ONNX model.
std::string why_not_ours(const std::filesystem::path& directory);

}  // namespace mnm
