// What queries are searched in: one vector and one class for each item. And what a search is worth.
//
// Kusupati et al., "Matryoshka Representation Learning" (arXiv 2205.13147), app. E, whose code has
// these definitions for k items that were found:
//   1-NN accuracy  the nearest item's class is the query's
//   mAP@k          the sum, over the places with the query's class, of the share of such places up
//                  to there; divided by k
//   precision@k    the share of the k items that have the query's class
//   recall@k       the share of the database's items of that class that are among the k; 0 where
//                  there are none
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

struct RetrievalScores {
  float nearest = 0, average_precision = 0, precision = 0, recall = 0;
};

// UsageError unless a database of `count` items has `depth` nearest ones, and at least one.
void require_depth(std::int64_t depth, std::int64_t count);

// Ready for a search: the nearest item of a query q is the one with the largest q . vector +
// offset.
class FeatureDatabase {
 public:
  // depth: the k of the scores above. UsageError if there are fewer items. Error if a vector is not
  // finite.
  FeatureDatabase(Features features, Distance distance, std::int64_t depth);

  std::int64_t count() const { return features_.count(); }
  std::int64_t dimension() const { return features_.dimension; }
  std::int64_t depth() const { return depth_; }
  Distance distance() const { return distance_; }
  std::span<const float> vectors() const { return features_.vectors; }  // [count, dimension]
  std::span<const float> offsets() const { return offsets_; }           // [count]

  // q . vector + offset in f64, summed in one order wherever an item lies: equal vectors tie.
  double score(std::span<const float> query, std::int64_t item) const;
  // Of a query of this class, for which `found` are the `depth` nearest, the nearest first. NaN if
  // these are -1, since the query is no number.
  RetrievalScores scores(std::span<const std::int32_t> found, std::int64_t label) const;

 private:
  Features features_;
  Distance distance_;
  std::int64_t depth_;
  std::vector<float> offsets_;
  std::map<std::int64_t, std::int64_t> of_class_;  // how many items each has
};

}  // namespace mnm
