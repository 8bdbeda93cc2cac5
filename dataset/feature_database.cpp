#include "dataset/feature_database.h"

#include <cmath>
#include <utility>

#include "base/error.h"

namespace mnm {

void require_depth(std::int64_t depth, std::int64_t count) {
  if (depth >= 1 && depth <= count) return;
  fail_usage("cannot look at the {} nearest of a database of {}: expected 1 to {}", depth, count,
             count);
}

FeatureDatabase::FeatureDatabase(Features features, Distance distance, std::int64_t depth)
    : features_(std::move(features)),
      distance_(distance),
      depth_(depth),
      offsets_(static_cast<std::size_t>(features_.count())) {
  require_depth(depth_, count());
  const auto d = static_cast<std::size_t>(dimension());
  for (std::size_t i = 0; i < offsets_.size(); ++i) {
    const std::span<float> vector = std::span(features_.vectors).subspan(i * d, d);
    double square = 0;
    for (const float x : vector) square += static_cast<double>(x) * x;
    if (!std::isfinite(square)) {
      fail("cannot search a database of features: vector {} is not finite", i);
    }
    ++of_class_[features_.labels[i]];
    if (distance_ == Distance::kL2) {
      offsets_[i] = static_cast<float>(-square / 2);
    } else if (square > 0) {
      const double length = std::sqrt(square);
      for (float& x : vector) x = static_cast<float>(x / length);
    }
  }
}

double FeatureDatabase::score(std::span<const float> query, std::int64_t item) const {
  const float* const vector = features_.vectors.data() + item * dimension();
  double sum = 0, square = 0;
  for (std::size_t i = 0; i < query.size(); ++i) {
    sum += static_cast<double>(query[i]) * vector[i];
    square += static_cast<double>(vector[i]) * vector[i];
  }
  return distance_ == Distance::kL2 ? sum - square / 2 : sum;
}

std::int64_t FeatureDatabase::count_of(std::int64_t label) const {
  const auto all = of_class_.find(label);
  return all == of_class_.end() ? 0 : all->second;
}

}  // namespace mnm
