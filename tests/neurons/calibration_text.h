// What the tests of neurons calibrate on.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <random>
#include <string>

#include "dataset/examples.h"
#include "tests/support/temp_dir.h"

namespace mnm::test {

inline constexpr std::int64_t kContext = 12, kSequences = 7;

// A token file of random bytes below the vocabulary of the tiny models.
inline std::filesystem::path write_tokens(const std::filesystem::path& path, std::uint32_t seed) {
  std::mt19937 random(seed);
  std::string bytes;
  for (std::int64_t i = 0; i < kContext * kSequences + 1; ++i) {
    bytes += static_cast<char>(random() % 50);
  }
  spew(path, bytes);
  return path;
}

inline std::unique_ptr<Examples> tokens(const std::filesystem::path& path,
                                        const NestedModel& model) {
  return load_examples({.path = path, .context = kContext}, model);
}

}  // namespace mnm::test
