// The bundled images of characters, and their classifiers on the first images of the confirm part:
// whether widths matter to them as data/README.md says.
#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "tests/end_to_end/workshop.h"

namespace mnm::test {
namespace {

const std::string kGlyphs = MNM_SOURCE_DIR "/data/glyphs/";
constexpr int kImages = 5000;  // all; each counts as 17 positions

class Glyphs : public ::testing::TestWithParam<std::string> {
 protected:
  nlohmann::json inspected() const {
    return expect_done({"inspect", kGlyphs + GetParam(), "--json"}).json();
  }
  std::string path(const std::string& name) const { return (dir_ / name).string(); }

  TempDir dir_;
};

TEST_P(Glyphs, NeighbouringGranularitiesAreFarApart) {
  const std::string db = path("results.db");
  std::vector<std::string> widths;
  const nlohmann::json all = inspected();
  for (const auto& submodel : all["uniform"]) widths.push_back(submodel["widths"]);
  ASSERT_EQ(widths.size(), 4u);
  expect_done({"eval", kGlyphs + GetParam(), "--data", kGlyphs + "confirm", "--max-tokens",
               std::to_string(17 * kImages), "--metric", "accuracy", "--db", db});
  const auto compare = [&](std::size_t a, std::size_t b, const std::string& metric) {
    const nlohmann::json rows =
        expect_done({"compare", widths[a], widths[b], "--db", db, "--metric", metric, "--json"})
            .json();
    EXPECT_EQ(rows[0]["sequences"], kImages);
    return rows[0];
  };
  for (std::size_t i = 0; i + 1 < widths.size(); ++i) {
    const nlohmann::json row = compare(i, i + 1, "loss");  // the narrower's less the wider's
    EXPECT_GT(row["difference"].get<double>(), 5 * row["difference_se"].get<double>())
        << widths[i] << " and " << widths[i + 1] << ": " << row;
  }
  const nlohmann::json row = compare(0, widths.size() - 1, "accuracy");
  EXPECT_LT(row["difference"].get<double>(), -0.01) << row;
}

INSTANTIATE_TEST_SUITE_P(Bundled, Glyphs, ::testing::Values("mamba2_vision", "vit"));

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
