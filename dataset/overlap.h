// Whether two datasets are disjoint.
#pragma once

#include <cstdint>

#include "dataset/token_file.h"

namespace mnm {

// How many sequences of `part`, with their last target, are found whole among the tokens that
// `other` uses: at any place, so also where the same text is cut elsewhere. Exact; equal sequences
// count one each.
std::int64_t sequences_within(const TokenExamples& part, const TokenExamples& other);

// How many sequences two datasets share: those of either that lie whole in the other, whichever are
// more.
std::int64_t shared_sequences(const TokenExamples& a, const TokenExamples& b);

}  // namespace mnm
