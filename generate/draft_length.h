// How many tokens a draft should propose, and what that gains. Leviathan et al., "Fast Inference
// from Transformers via Speculative Decoding" (2023), section 3.
#pragma once

#include <cstdint>
#include <vector>

namespace mnm {

// Tokens that a verification gives on average, if the draft proposes `length` of them and each one
// is accepted with probability `acceptance`, independently: (1 - a^(K+1)) / (1 - a).
double tokens_per_verification(double acceptance, std::int64_t length);

// The same over the speed of the verifier alone: tokens / (K c + v), where `cost` is the time of a
// pass of the draft over one of the verifier, and `verification` that of verifying. In the paper
// verifying takes as long as one pass.
double expected_speedup(double acceptance, std::int64_t length, double cost,
                        double verification = 1);

struct DraftLength {
  std::int64_t tokens = 0;  // 0: a draft does not pay
  double speedup = 1;
};

// The best length of [0, most]. Of equal ones, the shorter.
DraftLength best_draft_length(double acceptance, double cost, std::int64_t most);

// How often tokens were accepted of late: each token that was tested counts 0.95 times as much as
// the one after it. It begins as if one token of 0.7 had been accepted.
class RecentAcceptance {
 public:
  void add(std::int64_t accepted, std::int64_t tested);  // in one verification
  double value() const { return accepted_ / tested_; }

 private:
  double accepted_ = 0.7, tested_ = 1;
};

// The rounds on a text that the verifier wrote: agrees[i] says whether the draft says token i as
// the verifier does. Each round takes the tokens up to the first disagreement, `length` at most,
// and one more of the verifier's. No independence is assumed.
struct DraftRounds {
  double tokens = 1;  // per verification
  double whole = 0;   // the share of drafts that are accepted whole
};
DraftRounds draft_rounds(const std::vector<bool>& agrees, std::int64_t length);

}  // namespace mnm
