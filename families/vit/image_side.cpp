#include "families/vit/image_side.h"

#include <nlohmann/json.hpp>

#include "base/json.h"

namespace mnm {
namespace {

// Of a number, or of a height and an equal width.
std::optional<std::int64_t> side_of(const nlohmann::json& config, const char* key) {
  const auto found = config.find(key);
  if (found == config.end()) return std::nullopt;
  if (found->is_number_integer()) return found->get<std::int64_t>();
  if (!found->is_object()) return std::nullopt;
  const auto height = found->find("height"), width = found->find("width");
  if (height == found->end() || width == found->end() || *height != *width) return std::nullopt;
  if (!height->is_number_integer()) return std::nullopt;
  return height->get<std::int64_t>();
}

}  // namespace

std::optional<std::int64_t> preprocessed_side(const std::filesystem::path& directory) {
  const std::filesystem::path path = directory / "preprocessor_config.json";
  if (!std::filesystem::exists(path)) return std::nullopt;
  const nlohmann::json config = read_json(path);
  if (!config.is_object()) return std::nullopt;
  const auto crops = config.find("do_center_crop");
  if (crops == config.end() || *crops != false) {
    if (const auto side = side_of(config, "crop_size")) return side;
  }
  return side_of(config, "size");
}

}  // namespace mnm
