// What queries are searched in: one vector and one class for each item. eval/retrieval_scores.h
// says what a search is worth.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string_view>
#include <vector>

namespace mnm {

enum class Distance : std::uint8_t {
  kCosine,  // the angle: vectors are divided by their length
  kL2,      // the Euclidean distance, of vectors as they are
};
inline constexpr std::string_view kDistances[] = {"cosine", "l2"};

// Vectors of examples, and the classes of these.
struct Features {
  std::int64_t dimension = 0;
  std::vector<float> vectors;        // [count, dimension]
  std::vector<std::int64_t> labels;  // [count]

  std::int64_t count() const { return static_cast<std::int64_t>(labels.size()); }
};

// UsageError unless a database of `count` items has `depth` nearest ones, and at least one.
void require_depth(std::int64_t depth, std::int64_t count);

// Ready for a search: the nearest item of a query q is the one with the largest q . vector +
// offset.
class FeatureDatabase {
 public:
  // depth: the k of eval/retrieval_scores.h. UsageError if there are fewer items. Error if a vector
  // is not finite.
  FeatureDatabase(Features features, Distance distance, std::int64_t depth);

  std::int64_t count() const { return features_.count(); }
  std::int64_t dimension() const { return features_.dimension; }
  std::int64_t depth() const { return depth_; }
  Distance distance() const { return distance_; }
  std::span<const float> vectors() const { return features_.vectors; }  // [count, dimension]
  std::span<const float> offsets() const { return offsets_; }           // [count]

  // q . vector + offset in f64, summed in one order wherever an item lies: equal vectors tie.
  double score(std::span<const float> query, std::int64_t item) const;
  // The class of an item, and how many items have a class.
  std::int64_t label(std::int64_t item) const {
    return features_.labels[static_cast<std::size_t>(item)];
  }
  std::int64_t count_of(std::int64_t label) const;

 private:
  Features features_;
  Distance distance_;
  std::int64_t depth_;
  std::vector<float> offsets_;
  std::map<std::int64_t, std::int64_t> of_class_;  // how many items each has
};

}  // namespace mnm
