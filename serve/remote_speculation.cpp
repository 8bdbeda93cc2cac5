#include "serve/remote_speculation.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>

#include "base/stopwatch.h"

namespace mnm {
namespace {

constexpr double kParts = 10000;  // of the probability, as the verifier is told

Sampling sampling_of_draft(Sampling sampling) {
  if (sampling.top_k == 0 || sampling.top_k > RemoteSpeculation::kSentTokens) {
    sampling.top_k = RemoteSpeculation::kSentTokens;
  }
  return sampling;
}

std::int64_t longest(const RemoteSettings& settings) {
  return settings.draft_tokens > 0 ? settings.draft_tokens : kMostProposals;
}

}  // namespace

RemoteSpeculation::RemoteSpeculation(Sequences& sequences, Verifier& verifier,
                                     const RemoteSettings& settings, Random& random)
    : sequences_(sequences),
      verifier_(verifier),
      settings_(settings),
      sampler_(sampling_of_draft(settings.sampling)),
      random_(random),
      draft_(sequences, {.context = settings.context, .take_back = longest(settings)}) {}

void RemoteSpeculation::read(std::span<const std::int64_t> part) {
  const Feed feed{
      .sequence = draft_.id(), .widths = settings_.draft, .tokens = part, .settled = true};
  const std::span<const float> logits = sequences_.step({&feed, 1}).front();
  logits_.assign(logits.begin(), logits.end());
  text_.insert(text_.end(), part.begin(), part.end());
  prompt_ = text_.size();
}

std::int64_t RemoteSpeculation::length_of_draft(std::int64_t most) const {
  if (settings_.draft_tokens > 0) return std::min(settings_.draft_tokens, most);
  double cost = kUsualCost;
  if (sampler_.greedy() && counts_.draft_passes > 0 && counts_.verify_seconds > 0) {
    cost = counts_.draft_seconds / static_cast<double>(counts_.draft_passes) /
           (counts_.verify_seconds / static_cast<double>(counts_.verifications));
  }
  const std::int64_t best = best_draft_length(recent_.value(), cost, kMostProposals).tokens;
  return std::min(std::max<std::int64_t>(1, best), most);  // one at least, to go on measuring
}

// What the draft says next, with the distribution in whole parts, so that the verifier reads the
// very numbers that were drawn from.
Proposal RemoteSpeculation::proposal_of(std::span<const float> logits) {
  const std::vector<double> all = sampler_.probabilities(logits);
  Proposal proposal;
  std::vector<double> parts;
  double total = 0;
  for (std::size_t id = 0; id < all.size(); ++id) {
    const double part = std::floor(all[id] * kParts + 0.5);
    if (part == 0) continue;
    proposal.from.emplace_back(static_cast<std::int64_t>(id), part);
    parts.push_back(part);
    total += part;
  }
  const std::int64_t drawn = draw(parts, total, random_.uniform());
  proposal.token = proposal.from[static_cast<std::size_t>(drawn)].first;
  return proposal;
}

std::vector<Proposal> RemoteSpeculation::propose(std::int64_t count) {
  std::vector<Proposal> proposals;
  // The draft reads what was said since its last pass.
  std::vector<std::int64_t> unread(text_.begin() + sequences_.length(draft_.id()), text_.end());
  const Stopwatch start;
  for (std::int64_t i = 0; i < count; ++i) {
    std::span<const float> logits = logits_;
    if (!unread.empty()) {
      const Feed feed{.sequence = draft_.id(), .widths = settings_.draft, .tokens = unread};
      logits = sequences_.step({&feed, 1}).front();
      ++counts_.draft_passes;
    }
    proposals.push_back(proposal_of(logits));
    unread = {proposals.back().token};
  }
  counts_.draft_seconds += start.seconds();
  return proposals;
}

std::vector<std::int64_t> RemoteSpeculation::next(std::int64_t most) {
  const std::vector<Proposal> proposals = propose(length_of_draft(most - 1));
  VerifiedDraft verified;
  const Stopwatch start;
  try {
    verified = verifier_.verify(text_, proposals, random_.next());
  } catch (const Error& error) {
    if (text_.size() == prompt_) fail("the verifier gave no token: {}", error.what());
    fail(
        "the verifier gave no more after {} new tokens, which are its own: {}; go on later with "
        "--tokens {}",
        text_.size() - prompt_, error.what(), fmt::join(text_, ","));
  }
  counts_.verify_seconds += start.seconds();
  recent_.add(verified.accepted, counts_.add(verified.accepted, std::ssize(proposals)));

  const std::int64_t read = std::ssize(text_) + verified.accepted;
  if (sequences_.length(draft_.id()) > read) sequences_.rewind(draft_.id(), read);
  std::vector<std::int64_t> tokens;
  for (std::int64_t i = 0; i < verified.accepted; ++i) {
    tokens.push_back(proposals[static_cast<std::size_t>(i)].token);
  }
  tokens.push_back(verified.token);
  text_.insert(text_.end(), tokens.begin(), tokens.end());
  return tokens;
}

double RemoteSpeculation::verifier_seconds() {
  constexpr int kRequests = 8;
  if (text_.size() == prompt_) return 0;
  double seconds = 0;
  for (int i = 0; i < kRequests; ++i) {
    verifier_.verify(std::span(text_).first(text_.size() - 1), {}, 1);
    seconds += verifier_.seconds();
  }
  return seconds / kRequests;
}

double break_even_seconds(double tokens, double alone, double length, double draft,
                          double verification) {
  return tokens * alone - length * draft - verification;
}

}  // namespace mnm
