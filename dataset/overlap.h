// Whether two datasets are disjoint.
#pragma once

#include <cstdint>

#include "dataset/tokens.h"

namespace mnm {

// How many sequences of `part`, with their last target, occur as a whole among the tokens that
// `other` uses. They may begin at any place, so this also finds the same text when it is cut
// elsewhere. The count is exact. Equal sequences count one each.
std::int64_t sequences_within(const TokenExamples& part, const TokenExamples& other);

// How many sequences of either dataset lie as a whole in the other; the larger of the two numbers.
std::int64_t shared_sequences(const TokenExamples& a, const TokenExamples& b);

}  // namespace mnm
