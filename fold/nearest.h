// An exact search for the nearest items of a database of features, by products of blocks. Compiled
// only into the engine.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "dataset/feature_database.h"

namespace mnm {

inline constexpr std::int64_t kRetrievalMetrics = 4;

// A database where it is searched: on the CPU as it is, else copied to the device.
struct PlacedDatabase {
  PlacedDatabase(const FeatureDatabase& database, const at::Device& device);

  const FeatureDatabase& items;  // which outlives this
  at::Tensor vectors;            // f32 [count, dimension]
  at::Tensor offsets;            // f32 [1, count]
};

// queries [n, dimension], on the database's device -> int32 [n, depth] on the CPU: the nearest
// items, the nearest first. Of equally near ones, those with the lower numbers come first: the
// items that the products find best, and some more, are compared again in f64. -1 for a query that
// is no number.
at::Tensor nearest_items(const PlacedDatabase& database, const at::Tensor& queries);

// What the searches for `queries`, whose classes are `targets` [n], are worth: values [4, n] f32 on
// any device becomes 1-NN accuracy, mAP, precision and recall, the metrics of retrieval in the
// order of their table (eval/metrics.h). NaN for a query that is no number.
void retrieval_into(const PlacedDatabase& database, const at::Tensor& queries,
                    const at::Tensor& targets, const at::Tensor& values);

}  // namespace mnm
