// What the tests of neurons of classifiers of images calibrate on, and tiny classifiers.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <random>
#include <string>
#include <vector>

#include "dataset/examples.h"
#include "dataset/npy.h"
#include "families/family.h"
#include "tests/support/temp_dir.h"
#include "tests/support/tensors.h"
#include "tests/support/tiny_vit.h"

namespace mnm::test {

inline constexpr std::int64_t kCalibrationImages = 9;

// Random images, normalised already, as the model reads them, in all of its classes.
inline std::unique_ptr<Examples> images(const std::filesystem::path& set, const NestedModel& model,
                                        std::uint32_t seed) {
  std::mt19937 random(seed);
  std::vector<std::int64_t> shape = model.input.shape;
  shape.insert(shape.begin(), kCalibrationImages);
  std::string pixels = npy_head("<f4", shape);
  std::vector<float> values(elements_of(shape));
  for (float& value : values) value = static_cast<float>(random() >> 8) / 8388608.0f - 1.0f;
  pixels.append(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float));
  std::string labels = npy_head("|u1", std::vector<std::int64_t>{kCalibrationImages});
  for (std::int64_t i = 0; i < kCalibrationImages; ++i) {
    labels += static_cast<char>(i % model.vocab_size);
  }
  std::filesystem::create_directories(set);
  spew(set / "images.npy", pixels);
  spew(set / "labels.npy", labels);
  return load_examples({.path = set}, model);
}

// Ordinary: it names no granularities.
inline nlohmann::json ordinary_config(nlohmann::json config) {
  config.erase("matformer_granularities");
  return config;
}

// Products have a spread that keeps activations near 1, norms multiply by numbers around 1.
inline std::vector<TestTensor> vit_tensors(const NestedModel& model) {
  std::vector<TestTensor> tensors;
  for (const TensorSpec& spec : model.table.tensors) {
    const auto id = static_cast<std::uint32_t>(tensors.size()) + 1000;
    const bool norm = spec.norm_groups > 0, scale = spec.name.ends_with("lambda1");
    tensors.push_back(
        random_tensor(spec.name, spec.shape, id, 0.3f, Dtype::kF32, norm || scale ? 1.0f : 0.0f));
  }
  return tensors;
}

}  // namespace mnm::test
