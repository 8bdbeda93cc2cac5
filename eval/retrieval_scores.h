// What a search in a database is worth: mAP@k, precision@k, recall@k and 1-NN accuracy.
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
#include <span>

#include "dataset/feature_database.h"

namespace mnm {

struct RetrievalScores {
  float nearest = 0, average_precision = 0, precision = 0, recall = 0;
};

// Of one query of class `label`. found: [k] items of the database, the nearest first. All scores
// are NaN if these are -1, since the query is no number.
RetrievalScores retrieval_scores(const FeatureDatabase& database,
                                 std::span<const std::int32_t> found, std::int64_t label);

}  // namespace mnm
