// Tokens of one submodel after the other: a sequence that changes its widths and keeps its cache.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/random.h"
#include "engine/sequences.h"
#include "generate/sampler.h"
#include "generate/token_source.h"

namespace mnm {

struct WidthChange {
  std::int64_t after = 0;  // so many new tokens
  Widths widths;
};

class ScheduledWidths final : public TokenSource {
 public:
  // The first change is after 0 tokens, and they ascend: the prompt is read at its widths. The
  // token that follows a change is computed at the new widths. Each token takes one random number.
  // sequences, sampler and random outlive it.
  ScheduledWidths(Sequences& sequences, const SequenceOptions& options,
                  std::vector<WidthChange> schedule, Sampler& sampler, Random& random);

  void read(std::span<const std::int64_t> part) override;
  std::vector<std::int64_t> next(std::int64_t most) override;

 private:
  void feed(std::span<const std::int64_t> tokens);

  Sequences& sequences_;
  OpenSequence sequence_;
  std::vector<WidthChange> schedule_;
  Sampler& sampler_;
  Random& random_;
  std::span<const float> logits_;   // after all tokens but the last one, or after all
  std::vector<std::int64_t> last_;  // the last new token, which was not fed yet
  std::int64_t said_ = 0;           // new tokens
};

}  // namespace mnm
