// How much faster a draft makes its verifier: predicted, and measured.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/progress.h"
#include "engine/sequences.h"
#include "generate/sampler.h"
#include "generate/speculative.h"

namespace mnm {

struct DraftCheck {
  std::int64_t tokens = 0;             // of the verifier's own text
  double acceptance = 0;               // of a proposed token, over that text
  double tokens_per_verification = 0;  // predicted from the runs of accepted tokens in that text
  double whole = 0;                    // the share of drafts that are accepted whole, likewise
  // Seconds, with the choice of tokens: a token of the verifier alone, a token of the draft, a
  // verification.
  double alone = 0, draft = 0, verification = 0;
  // By how much a pass of the draft that reads two tokens takes longer. After a draft that was
  // accepted whole, it has not read its own last token. 0 if the cache is shared.
  double catching_up = 0;
  double predicted = 1;  // speed-up, from the runs and the four times
  double formula = 1;    // expected_speedup, from the acceptance and the first two
  double measured = 1;
};

struct DraftCheckSettings {
  SpeculationSettings speculation;  // with a fixed number of draft tokens
  Sampling sampling{.temperature = 1};
  std::int64_t new_tokens = 64;  // of each prompt
  std::uint64_t seed = 1;
};

// For each prompt the verifier writes a text. It is read again by both, which shows how likely each
// of its tokens would have been accepted. Then the pair writes a text of that length. The times of
// the two are taken prompt by prompt, one after the other. `progress` counts prompts. Each prompt
// and what is written must fit the model's positions.
DraftCheck check_draft(Sequences& sequences, const DraftCheckSettings& settings,
                       std::span<const std::vector<std::int64_t>> prompts,
                       const ProgressSink& progress);

}  // namespace mnm
