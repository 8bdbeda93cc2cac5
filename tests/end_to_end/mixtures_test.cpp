// Mixtures of two neighbouring granularities of the bundled ViT of characters, beside the line that
// joins the two uniform submodels in loss over parameters. The truth table is of the search part;
// the confirm part judges, image by image. docs/vision.md has the figures.
#include <sqlite3.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <map>
#include <numeric>
#include <stdexcept>
#include <string>
#include <vector>

#include "eval/standard_error.h"
#include "model/widths.h"
#include "tests/end_to_end/workshop.h"

namespace mnm::test {
namespace {

const std::string kGlyphs = MNM_SOURCE_DIR "/data/glyphs/";
constexpr std::size_t kLayers = 6, kImages = 5000;
constexpr std::array<Width, 4> kLevels = {2, 8, 32, 192};
constexpr std::size_t kSubmodels = 4096;

// Submodels are in lexicographic order, narrowest first; the first layer counts most.
Widths widths_at(std::size_t index) {
  Widths widths(kLayers);
  for (std::size_t layer = 0; layer < kLayers; ++layer) {
    widths[layer] = kLevels[index >> (2 * (kLayers - 1 - layer)) & 3];
  }
  return widths;
}

std::int64_t cost(const Widths& widths) {
  return std::accumulate(widths.begin(), widths.end(), std::int64_t{0});
}

Widths uniform(std::size_t level) { return Widths(kLayers, kLevels[level]); }

// A submodel, and the point of a line that it is held against: that of so many layers at level
// `low` + 1 and the rest at `low`.
struct Mixture {
  std::size_t low = 0, wide = 0;
  Widths widths;
};

Mixture narrower_first(std::size_t low, std::size_t wide) {
  Mixture mixture{low, wide, uniform(low)};
  std::fill(mixture.widths.end() - static_cast<std::ptrdiff_t>(wide), mixture.widths.end(),
            kLevels[low + 1]);
  return mixture;
}

// Of each point between two granularities the submodel of the least loss, by the truth table, that
// costs as much or less.
std::vector<Mixture> chosen() {
  std::vector<float> truth(kSubmodels);
  const std::string file = slurp(kGlyphs + "vit/truth.npy");
  const std::size_t bytes = kSubmodels * sizeof(float);
  if (file.size() <= bytes) throw std::runtime_error("truth.npy is no table of 4,096 losses");
  std::memcpy(truth.data(), file.data() + (file.size() - bytes), bytes);
  std::vector<Mixture> found;
  for (std::size_t low = 0; low + 1 < kLevels.size(); ++low) {
    for (std::size_t wide = 1; wide < kLayers; ++wide) {
      const std::int64_t most = cost(narrower_first(low, wide).widths);
      Mixture best{low, wide, {}};
      float least = std::numeric_limits<float>::infinity();
      for (std::size_t i = 0; i < kSubmodels; ++i) {
        const Widths widths = widths_at(i);
        if (cost(widths) > most || truth[i] >= least) continue;
        least = truth[i];
        best.widths = widths;
      }
      found.push_back(best);
    }
  }
  return found;
}

// The losses of every image of the confirm part, by widths.
using Losses = std::map<std::string, std::vector<float>>;

Losses losses_of(const std::vector<Mixture>& mixtures, const std::string& db) {
  std::vector<std::string> command = {
      "eval", kGlyphs + "vit", "--data", kGlyphs + "confirm", "--db", db, "--threads", "1"};
  const auto add = [&](const Widths& widths) {
    command.push_back("--widths");
    command.push_back(to_string(widths));
  };
  for (std::size_t level = 0; level < kLevels.size(); ++level) add(uniform(level));
  for (const Mixture& mixture : mixtures) add(mixture.widths);
  expect_done(command);
  sqlite3* connection = nullptr;
  EXPECT_EQ(sqlite3_open(db.c_str(), &connection), SQLITE_OK);
  sqlite3_stmt* row = nullptr;
  const char* sql =
      "SELECT r.widths, e.f32 FROM example_scores e JOIN record r ON r.id = e.record "
      "WHERE e.metric = 'loss'";
  EXPECT_EQ(sqlite3_prepare_v2(connection, sql, -1, &row, nullptr), SQLITE_OK);
  Losses losses;
  while (sqlite3_step(row) == SQLITE_ROW) {
    const auto* widths = reinterpret_cast<const char*>(sqlite3_column_text(row, 0));
    std::vector<float>& values = losses[widths];
    values.resize(static_cast<std::size_t>(sqlite3_column_bytes(row, 1)) / sizeof(float));
    if (values.size() != kImages) continue;  // at() below says so
    std::memcpy(values.data(), sqlite3_column_blob(row, 1), kImages * sizeof(float));
  }
  sqlite3_finalize(row);
  sqlite3_close(connection);
  return losses;
}

// How much more loss the mixtures have than the points of the line, on average.
Estimate above_line(const std::vector<Mixture>& mixtures, const Losses& losses) {
  std::vector<double> more(kImages);
  for (const Mixture& mixture : mixtures) {
    const double share = static_cast<double>(mixture.wide) / static_cast<double>(kLayers);
    const std::vector<float>& own = losses.at(to_string(mixture.widths));
    const std::vector<float>& low = losses.at(to_string(uniform(mixture.low)));
    const std::vector<float>& high = losses.at(to_string(uniform(mixture.low + 1)));
    for (std::size_t i = 0; i < kImages; ++i) {
      more[i] += (own.at(i) - (1 - share) * low.at(i) - share * high.at(i)) /
                 static_cast<double>(mixtures.size());
    }
  }
  return mean_of(more);
}

TEST(Mixtures, ThoseOfTheTruthTablesFrontAreOnTheLineAndNotAllOthers) {
  const std::vector<Mixture> front = chosen();
  std::vector<Mixture> ordered;
  for (const std::size_t low : {0u, 1u}) {
    for (std::size_t wide = 1; wide < kLayers; ++wide) {
      ordered.push_back(narrower_first(low, wide));
    }
  }
  std::vector<Mixture> all = front;
  all.insert(all.end(), ordered.begin(), ordered.end());
  const TempDir dir;
  const Losses losses = losses_of(all, (dir / "results.db").string());
  for (const Mixture& mixture : front) {
    const Estimate above = above_line({mixture}, losses);
    EXPECT_LT(above.value, 3 * above.standard_error) << to_string(mixture.widths);
  }
  const Estimate chosen_ones = above_line(front, losses), plain = above_line(ordered, losses);
  EXPECT_LT(chosen_ones.value, -2 * chosen_ones.standard_error);
  EXPECT_GT(plain.value, 3 * plain.standard_error);
}

}  // namespace
}  // namespace mnm::test
