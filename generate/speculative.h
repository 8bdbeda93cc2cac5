// Speculative decoding: a draft proposes tokens, and the verifier computes them all in one pass.
// Leviathan et al. (2023), and Chen et al., "Accelerating Large Language Model Decoding with
// Speculative Sampling" (2023). The draft is another submodel of the same nested model, or another
// model.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "base/random.h"
#include "engine/sequences.h"
#include "generate/draft_length.h"
#include "generate/sampler.h"
#include "generate/token_source.h"

namespace mnm {

// Where the draft keeps the tokens that it reads. MatFormer (Devvrit et al., 2023, section 4.1.1)
// shares the verifier's: the draft reads what the verifier computed, adds its own proposals behind
// it, and the verifier overwrites those.
enum class DraftCache : std::uint8_t { kOwn, kShared };

// The most tokens that a draft may propose at once. With one more, they are the rows of the fastest
// product (kernels/few_rows.h).
inline constexpr std::int64_t kMostProposals = 15;

struct SpeculationSettings {
  Widths draft, verifier;
  DraftCache cache = DraftCache::kOwn;
  std::int64_t draft_tokens = 0;  // that are proposed at once; 0: chosen by the acceptance so far
  std::int64_t most = 8;          // if they are chosen, the most
  // Time of a pass of the draft over one of the verifier, by which they are chosen.
  double cost = 0.5;
  std::int64_t context = 0;  // as SequenceOptions'
};

struct SpeculationCounts {
  std::int64_t verifications = 0;
  std::int64_t tokens = 0;    // that they gave
  std::int64_t proposed = 0;  // by the draft
  std::int64_t tested = 0;    // of these, up to and with the first that was rejected
  std::int64_t accepted = 0;
  double draft_seconds = 0;   // of the draft's passes
  double verify_seconds = 0;  // of the verifications
  std::int64_t draft_passes = 0;

  // One more verification. Returns how many proposals it tested.
  std::int64_t add(std::int64_t accepted_now, std::int64_t proposed_now);
  double acceptance() const;  // of a token that was tested
  double tokens_per_verification() const;
};

// How a proposed token x is accepted: with probability min(1, p(x) / q(x)), where the verifier
// draws from p and the draft drew from q. If it is rejected, the token is drawn from max(0, p - q),
// normalised. So the token is distributed as p, whatever q is.
struct Verdict {
  bool accepted = false;
  std::int64_t token = 0;
};
Verdict verify(std::span<const double> p, std::span<const double> q, std::int64_t x,
               Random& random);

// A draft's proposals, verified one after the other until one is rejected.
struct VerifiedDraft {
  std::int64_t accepted = 0;  // proposals, from the first on
  std::int64_t token = 0;     // instead of the one that was rejected, or after them all
};

// `logits`: f32 [proposals + 1, vocab]; row i is about the token after i proposals. from(i):
// [vocab], what proposal i was drawn from; it is valid until the next call. Error if logits are no
// numbers.
VerifiedDraft verify_draft(std::span<const float> logits, std::span<const std::int64_t> proposals,
                           const std::function<std::span<const double>(std::size_t)>& from,
                           Sampler& sampler, Random& random);

// The tokens are distributed as the verifier's own; greedy, they are the verifier's own, but where
// two logits differ by less than rounding. The same seed gives the same tokens.
class Speculation final : public TokenSource {
 public:
  // sequences, sampler and random outlive it.
  Speculation(Sequences& sequences, const SpeculationSettings& settings, Sampler& sampler,
              Random& random);
  // The draft is another model. UsageError if the cache is shared; read() gives one if the
  // vocabularies differ in size.
  Speculation(Sequences& verifier, Sequences& draft, const SpeculationSettings& settings,
              Sampler& sampler, Random& random);

  void read(std::span<const std::int64_t> part) override;
  std::vector<std::int64_t> next(std::int64_t most) override;

  const SpeculationCounts& counts() const { return counts_; }

  // Seconds that a token of the verifier alone takes, at the end of the text: the mean of some
  // passes, which are taken back. For comparison with what was measured. 0 before the first token.
  double verifier_seconds();

 private:
  // A submodel, and the sequence that it reads.
  struct Reader {
    Sequences& sequences;
    Widths widths;
    SequenceId sequence;

    // Logits, valid until the next call.
    std::span<const float> feed(std::span<const std::int64_t> tokens, bool every_position) const;
    std::span<const float> settle(std::span<const std::int64_t> tokens) const;
    std::int64_t length() const { return sequences.length(sequence); }
    void rewind(std::int64_t position) const { sequences.rewind(sequence, position); }
  };

  bool shares() const { return settings_.cache == DraftCache::kShared; }
  std::int64_t length_of_draft(std::int64_t most) const;
  std::vector<std::int64_t> propose(std::int64_t count);

  SpeculationSettings settings_;
  Sampler& sampler_;
  Random& random_;
  OpenSequence of_verifier_;
  std::optional<OpenSequence> of_draft_;            // none if the cache is shared
  Reader verifier_, draft_;                         // of one sequence if the cache is shared
  std::vector<float> logits_;                       // the verifier's, after the prompt
  std::vector<std::vector<double>> proposed_from_;  // what the draft drew each proposal from
  std::vector<std::int64_t> unread_;  // tokens that the draft's own sequence has not been fed
  std::int64_t last_ = -1;            // the last token, which the verifier has not been fed
  RecentAcceptance recent_;
  SpeculationCounts counts_;
};

}  // namespace mnm
