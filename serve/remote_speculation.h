// Speculative decoding across a network: a draft on this machine, and its verifier on another.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/random.h"
#include "engine/sequences.h"
#include "generate/sampler.h"
#include "generate/speculative.h"
#include "generate/token_source.h"
#include "serve/verifier.h"

namespace mnm {

struct RemoteSettings {
  Widths draft = {};
  // That are proposed at once. 0: the best by the acceptance so far, and by the time of a pass of
  // the draft over that of a round trip; the latter is the measured one if the choice is greedy,
  // and kUsualCost else, because the same seed must draw the same tokens.
  std::int64_t draft_tokens = 0;
  std::int64_t context = 0;  // as SequenceOptions'
  Sampling sampling = {};
};

// The tokens are the verifier's: greedy its own, else distributed as its own
// (generate/speculative.h). With a temperature the draft draws among the kSentTokens likeliest of
// its tokens alone, in 10,000 equal parts, because the verifier must be told what it drew from.
class RemoteSpeculation final : public TokenSource {
 public:
  static constexpr std::int64_t kSentTokens = 16;
  static constexpr double kUsualCost = 0.1;

  // sequences, verifier and random outlive it.
  RemoteSpeculation(Sequences& sequences, Verifier& verifier, const RemoteSettings& settings,
                    Random& random);

  void read(std::span<const std::int64_t> part) override;
  // The first call asks the verifier, too. Error if the verifier does not answer, or refuses: it
  // says what was generated, and how to go on.
  std::vector<std::int64_t> next(std::int64_t most) override;

  // verify_seconds: from each request to its answer.
  const SpeculationCounts& counts() const { return counts_; }

  // Seconds that the verifier computes for a token without a draft: the mean of some requests. They
  // do not change the text. 0 before the first token. Error as of Verifier::verify.
  double verifier_seconds();

 private:
  std::int64_t length_of_draft(std::int64_t most) const;
  std::vector<Proposal> propose(std::int64_t count);
  Proposal proposal_of(std::span<const float> logits);

  Sequences& sequences_;
  Verifier& verifier_;
  RemoteSettings settings_;
  Sampler sampler_;  // of the draft
  Random& random_;
  OpenSequence draft_;
  std::vector<float> logits_;       // the draft's, after the prompt
  std::vector<std::int64_t> text_;  // the prompt and what was said
  std::size_t prompt_ = 0;          // tokens
  RecentAcceptance recent_;
  SpeculationCounts counts_;
};

// The time on the network of a round trip at which drafting is as fast as the verifier alone that
// streams its tokens: n v1 - K d - v, in seconds. Below 0: never. `tokens`: n, that a round trip
// gives; `alone`: v1, the verifier's time for a token; `length`: K; `draft`: d, of one of its
// passes; `verification`: v.
double break_even_seconds(double tokens, double alone, double length, double draft,
                          double verification);

}  // namespace mnm
