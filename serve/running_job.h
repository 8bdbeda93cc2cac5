// One completion as the scheduler sees it: what was asked for, and how far it is.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <utility>
#include <vector>

#include "base/random.h"
#include "engine/sequences.h"
#include "generate/sampler.h"
#include "generate/speculative.h"
#include "model/widths.h"

namespace mnm {

using JobId = std::uint64_t;

// A token that a client's draft proposes.
struct Proposal {
  std::int64_t token = 0;
  // What it was drawn from: ids, and numbers above 0 in proportion to their probabilities. The
  // token is among the ids, and none is there twice.
  std::vector<std::pair<std::int64_t, double>> from = {};

  std::vector<double> distribution(std::int64_t vocabulary) const;  // [vocabulary], sums to 1
};

struct Job {
  std::vector<std::int64_t> prompt;  // one or more tokens
  std::optional<Widths> widths;      // nothing: elastic, at the widths of each step
  double flops = 0;                  // per token at `widths`
  Sampling sampling;
  std::uint64_t seed = 1;
  std::int64_t max_tokens = 16;              // 0: only the prompt is computed
  std::set<std::int64_t> ends;               // tokens that end a text
  std::optional<std::int64_t> alternatives;  // as in CompletionRequest
  bool score_prompt = false;                 // log probabilities of the prompt's tokens, too
  // The prompt's last tokens are these proposals, which are verified. Nothing is generated but the
  // one token after those that are accepted.
  std::optional<std::vector<Proposal>> draft = {};

  // How many of the prompt's last tokens are computed in one step, with the logits after each.
  std::int64_t in_doubt() const { return draft ? std::ssize(*draft) + 1 : 0; }
  // SequenceOptions::take_back of its sequence.
  std::int64_t take_back() const { return draft ? kMostProposals + 1 : 0; }
};

// A sequence in the engine, with what it holds.
struct CachedSequence {
  SequenceId sequence{};
  std::int64_t take_back = 0;        // SequenceOptions'
  std::vector<std::int64_t> tokens;  // that were fed
  // The widths that they were computed at: runs of tokens, each by the position after it.
  std::vector<std::pair<std::size_t, std::shared_ptr<const Widths>>> runs;

  void append(std::span<const std::int64_t> more, const std::shared_ptr<const Widths>& widths);
  void shorten(std::size_t length);  // forgets the tokens from there on
  // How many tokens of `prompt` it begins with, all computed at `widths`.
  std::int64_t common(std::span<const std::int64_t> prompt, const Widths& widths) const;
};

struct RunningJob {
  RunningJob(JobId its_id, Job its_job, CachedSequence its_cache, std::int64_t positions);

  std::int64_t prompt_left() const;  // tokens of the prompt that are not computed yet

  JobId id;
  Job job;
  std::shared_ptr<const Widths> widths;  // null: elastic
  CachedSequence cache;
  std::int64_t reserved;    // positions that it may come to need
  std::int64_t taken_over;  // tokens that its cache began with
  bool told = false;        // an event has told of these
  Sampler sampler;
  Random random;
  std::int64_t generated = 0;
  std::optional<std::int64_t> next;  // a token that was drawn and is not fed yet
};

// How many tokens two texts have in common from their start.
std::int64_t common_start(std::span<const std::int64_t> a, std::span<const std::int64_t> b);

}  // namespace mnm
