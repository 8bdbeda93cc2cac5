// The size of images that a checkpoint of DINOv2 is used with.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>

namespace mnm {

// The side in pixels of the squares that preprocessor_config.json in that directory makes: what it
// crops, or else the size that it resizes to. Nothing if it is absent or makes none.
std::optional<std::int64_t> preprocessed_side(const std::filesystem::path& directory);

}  // namespace mnm
