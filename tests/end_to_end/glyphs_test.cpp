// The bundled images of characters.
#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "tests/support/temp_dir.h"

namespace mnm::test {
namespace {

const std::string kGlyphs = MNM_SOURCE_DIR "/data/glyphs/";

// Bytes after the header of an array of so many.
std::string last_bytes(const std::string& file, std::size_t count) {
  const std::string all = slurp(file);
  return all.size() < count ? "" : all.substr(all.size() - count);
}

TEST(GlyphSets, EveryClassIsThereEquallyOftenAndNoImageTwice) {
  constexpr std::size_t kPixels = 16 * 16;
  std::vector<std::string> seen;
  for (const auto& [part, images] : {std::pair<std::string, std::size_t>{"search", 2000},
                                     std::pair<std::string, std::size_t>{"confirm", 5000}}) {
    const std::string set = kGlyphs + part;
    const auto classes = nlohmann::json::parse(slurp(set + "/classes.json")).size();
    EXPECT_GE(classes, 200u);
    std::vector<std::size_t> count(classes);
    for (const char label : last_bytes(set + "/labels.npy", images)) {
      ++count.at(static_cast<unsigned char>(label));
    }
    const auto [least, most] = std::ranges::minmax(count);
    EXPECT_LE(most - least, 1u) << part;
    const std::string pixels = last_bytes(set + "/images.npy", images * kPixels);
    for (std::size_t i = 0; i < pixels.size(); i += kPixels) {
      seen.push_back(pixels.substr(i, kPixels));
    }
  }
  EXPECT_EQ(seen.size(), 7000u);
  std::ranges::sort(seen);
  EXPECT_EQ(std::ranges::adjacent_find(seen), seen.end());
}

}  // namespace
}  // namespace mnm::test
