// A tiny random model of images and two sets of images, beside what a Workshop has.
#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <random>
#include <string>
#include <vector>

#include "dataset/npy.h"
#include "tests/end_to_end/workshop.h"
#include "tests/support/tiny_vit.h"

namespace mnm::test {

class ImageWorkshop : public Workshop {
 protected:
  // `count`, `others`: how many images the two sets have. `config`: what the model's config.json
  // has besides that of tiny_vit().
  ImageWorkshop(std::int64_t count, std::int64_t others,
                const nlohmann::json& config = nlohmann::json::object()) {
    std::filesystem::create_directory(dir_ / "config");
    spew(dir_ / "config/config.json", tiny_vit(config).dump());
    vit_ = path("vit");
    expect_done(
        {"random", path("config/config.json"), "--out", vit_, "--seed", "3", "--dtype", "f32"});
    spew(dir_ / "vit/preprocessor_config.json", kPreprocessing);
    images_ = images("images", 1, count);
    others_ = images("others", 2, others);
  }

  // Pictures of 12 x 12 in four classes, each of its own brightness.
  std::string images(const std::string& name, std::uint32_t seed, std::int64_t count) const {
    std::mt19937 random(seed);
    std::string pixels = npy_head("|u1", std::vector<std::int64_t>{count, 12, 12, 3}),
                labels = npy_head("|u1", std::vector<std::int64_t>{count});
    for (std::int64_t i = 0; i < count; ++i) {
      const unsigned label = static_cast<unsigned>(i) % 4;
      labels += static_cast<char>(label);
      for (int p = 0; p < 12 * 12 * 3; ++p) {
        pixels += static_cast<char>(60 * label + random() % 60);
      }
    }
    std::filesystem::create_directory(dir_ / name);
    spew(dir_ / (name + "/images.npy"), pixels);
    spew(dir_ / (name + "/labels.npy"), labels);
    return path(name);
  }

  static constexpr const char* kPreprocessing =
      R"({"image_processor_type": "ViTImageProcessor", "size": {"height": 12, "width": 12}})";
  std::string vit_, images_, others_;
};

}  // namespace mnm::test
