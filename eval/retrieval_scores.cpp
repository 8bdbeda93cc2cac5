#include "eval/retrieval_scores.h"

#include <limits>

namespace mnm {

RetrievalScores retrieval_scores(const FeatureDatabase& database,
                                 std::span<const std::int32_t> found, std::int64_t label) {
  constexpr float kNone = std::numeric_limits<float>::quiet_NaN();
  if (found.front() < 0) return {kNone, kNone, kNone, kNone};
  double hits = 0, precisions = 0;
  for (std::size_t place = 0; place < found.size(); ++place) {
    if (database.label(found[place]) != label) continue;
    ++hits;
    precisions += hits / static_cast<double>(place + 1);
  }
  const bool nearest = database.label(found.front()) == label;
  const auto depth = static_cast<double>(found.size());
  const std::int64_t all = database.count_of(label);
  const double recall = all == 0 ? 0 : hits / static_cast<double>(all);
  return {nearest ? 1.0f : 0.0f, static_cast<float>(precisions / depth),
          static_cast<float>(hits / depth), static_cast<float>(recall)};
}

}  // namespace mnm
