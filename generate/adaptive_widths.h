// Tokens of a narrow submodel where it is sure, and of a wide one where it is not.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/random.h"
#include "engine/sequences.h"
#include "generate/sampler.h"
#include "generate/token_source.h"

namespace mnm {

// The probability of the likeliest token less that of the second, before any temperature. 1 if
// there is one token only.
double margin_of(std::span<const float> logits);

class AdaptiveWidths final : public TokenSource {
 public:
  // The prompt is read at `wide`. Each new token is computed at `narrow`. If the margin of its
  // prediction is below `margin`, it is taken back and computed at `wide`, and so the cache holds
  // it. Each token takes one random number. sequences, sampler and random outlive it.
  AdaptiveWidths(Sequences& sequences, std::int64_t context, Widths narrow, Widths wide,
                 double margin, Sampler& sampler, Random& random);

  void read(std::span<const std::int64_t> part) override;
  std::vector<std::int64_t> next(std::int64_t most) override;

  // The prediction after `tokens`, which are fed one by one in this way: what `next` draws from.
  std::span<const float> feed(std::span<const std::int64_t> tokens);

  std::int64_t computed() const { return computed_; }  // new tokens that were fed
  std::int64_t wide() const { return wide_tokens_; }   // of them, those at `wide`

 private:
  std::span<const float> step(const Widths& widths, std::span<const std::int64_t> tokens,
                              bool settled);

  Sequences& sequences_;
  OpenSequence sequence_;
  Widths narrow_, widest_;
  double margin_;
  Sampler& sampler_;
  Random& random_;
  std::span<const float> logits_;
  std::vector<std::int64_t> last_;  // the last new token, which was not fed yet
  std::int64_t computed_ = 0, wide_tokens_ = 0;
};

}  // namespace mnm
