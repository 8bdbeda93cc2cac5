#include "generate/speculative.h"

#include <algorithm>

#include "base/error.h"
#include "base/stopwatch.h"

namespace mnm {

std::int64_t SpeculationCounts::add(std::int64_t accepted_now, std::int64_t proposed_now) {
  const std::int64_t tested_now = std::min(accepted_now + 1, proposed_now);
  ++verifications;
  tokens += accepted_now + 1;
  proposed += proposed_now;
  tested += tested_now;
  accepted += accepted_now;
  return tested_now;
}

double SpeculationCounts::acceptance() const {
  return tested == 0 ? 0 : static_cast<double>(accepted) / static_cast<double>(tested);
}

double SpeculationCounts::tokens_per_verification() const {
  return verifications == 0 ? 0 : static_cast<double>(tokens) / static_cast<double>(verifications);
}

Verdict verify(std::span<const double> p, std::span<const double> q, std::int64_t x,
               Random& random) {
  const auto at = static_cast<std::size_t>(x);
  if (random.uniform() * q[at] < p[at]) return {true, x};
  std::vector<double> rest(p.size());
  double total = 0;
  for (std::size_t i = 0; i < p.size(); ++i) total += rest[i] = std::max(0.0, p[i] - q[i]);
  if (total <= 0) return {false, draw(p, 1, random.uniform())};  // p is q but for rounding
  return {false, draw(rest, total, random.uniform())};
}

VerifiedDraft verify_draft(std::span<const float> logits, std::span<const std::int64_t> proposals,
                           const std::function<std::span<const double>(std::size_t)>& from,
                           Sampler& sampler, Random& random) {
  const std::size_t vocab = logits.size() / (proposals.size() + 1);
  VerifiedDraft out;
  for (std::size_t i = 0; i < proposals.size(); ++i) {
    const std::vector<double> p = sampler.probabilities(logits.subspan(i * vocab, vocab));
    const Verdict verdict = verify(p, from(i), proposals[i], random);
    out.token = verdict.token;
    if (!verdict.accepted) return out;
    ++out.accepted;
  }
  out.token = draw(sampler.probabilities(logits.last(vocab)), 1, random.uniform());
  return out;
}

namespace {

SequenceOptions options_of(const SpeculationSettings& settings) {
  const std::int64_t longest =
      settings.draft_tokens > 0 ? settings.draft_tokens : std::max<std::int64_t>(1, settings.most);
  return {.context = settings.context, .take_back = longest + 1};
}

}  // namespace

Speculation::Speculation(Sequences& sequences, const SpeculationSettings& settings,
                         Sampler& sampler, Random& random)
    : settings_(settings),
      sampler_(sampler),
      random_(random),
      of_verifier_(sequences, options_of(settings)),
      verifier_{sequences, settings.verifier, of_verifier_.id()},
      draft_{sequences, settings.draft, of_verifier_.id()} {
  if (!shares()) draft_.sequence = of_draft_.emplace(sequences, options_of(settings)).id();
}

Speculation::Speculation(Sequences& verifier, Sequences& draft, const SpeculationSettings& settings,
                         Sampler& sampler, Random& random)
    : settings_(settings),
      sampler_(sampler),
      random_(random),
      of_verifier_(verifier, options_of(settings)),
      verifier_{verifier, settings.verifier, of_verifier_.id()},
      draft_{draft, settings.draft, of_verifier_.id()} {
  if (shares()) fail_usage("a draft that is another model cannot share its verifier's cache");
  draft_.sequence = of_draft_.emplace(draft, options_of(settings)).id();
}

std::span<const float> Speculation::Reader::feed(std::span<const std::int64_t> tokens,
                                                 bool every_position) const {
  const Feed feed{
      .sequence = sequence, .widths = widths, .tokens = tokens, .every_position = every_position};
  return sequences.step({&feed, 1}).front();
}

std::span<const float> Speculation::Reader::settle(std::span<const std::int64_t> tokens) const {
  const Feed feed{.sequence = sequence, .widths = widths, .tokens = tokens, .settled = true};
  return sequences.step({&feed, 1}).front();
}

void Speculation::read(std::span<const std::int64_t> part) {
  const std::size_t of_draft = shares() ? 0 : draft_.settle(part).size();
  const std::span<const float> logits = verifier_.settle(part);
  if (!shares() && of_draft != logits.size()) {
    fail_usage("the draft has a vocabulary of {} tokens, and the verifier one of {}", of_draft,
               logits.size());
  }
  logits_.assign(logits.begin(), logits.end());
}

std::int64_t Speculation::length_of_draft(std::int64_t most) const {
  if (settings_.draft_tokens > 0) return std::min(settings_.draft_tokens, most);
  const std::int64_t best =
      best_draft_length(recent_.value(), settings_.cost, settings_.most).tokens;
  return std::min(std::max<std::int64_t>(1, best), most);  // one at least, to go on measuring
}

std::vector<std::int64_t> Speculation::propose(std::int64_t count) {
  std::vector<std::int64_t> proposals;
  proposed_from_.clear();
  std::vector<std::int64_t> next = shares() ? std::vector<std::int64_t>{} : unread_;
  next.push_back(last_);
  const Stopwatch start;
  for (std::int64_t i = 0; i < count; ++i) {
    proposed_from_.push_back(sampler_.probabilities(draft_.feed(next, false)));
    proposals.push_back(draw(proposed_from_.back(), 1, random_.uniform()));
    next = {proposals.back()};
  }
  counts_.draft_seconds += start.seconds();
  counts_.draft_passes += count;
  return proposals;
}

std::vector<std::int64_t> Speculation::next(std::int64_t most) {
  if (last_ < 0) {
    last_ = sampler_.pick(logits_, random_.uniform());
    return {last_};
  }
  const std::int64_t base = verifier_.length();
  const std::vector<std::int64_t> proposals = propose(length_of_draft(most - 1));
  if (shares()) verifier_.rewind(base);

  std::vector<std::int64_t> fed = {last_};
  fed.insert(fed.end(), proposals.begin(), proposals.end());
  const Stopwatch start;
  const std::span<const float> logits = verifier_.feed(fed, true);
  counts_.verify_seconds += start.seconds();

  const VerifiedDraft verified = verify_draft(
      logits, proposals, [&](std::size_t i) { return std::span<const double>(proposed_from_[i]); },
      sampler_, random_);
  recent_.add(verified.accepted, counts_.add(verified.accepted, std::ssize(proposals)));
  std::vector<std::int64_t> tokens(proposals.begin(), proposals.begin() + verified.accepted);
  tokens.push_back(verified.token);
  // Both have read the last token and those that were accepted, all but the newest.
  const std::int64_t read = base + static_cast<std::int64_t>(tokens.size());
  verifier_.rewind(read);
  if (!shares() && proposals.empty()) {
    unread_.push_back(last_);
  } else if (!shares()) {
    unread_.clear();
    const std::int64_t length = draft_.length();
    if (length > read) draft_.rewind(read);
    if (length < read) unread_ = {proposals.back()};  // all were accepted
  }
  last_ = tokens.back();
  return tokens;
}

double Speculation::verifier_seconds() {
  constexpr std::int64_t kLeast = 16, kMost = 64;
  if (last_ < 0) return 0;
  const std::int64_t base = verifier_.length();
  const std::int64_t passes = std::clamp(counts_.verifications, kLeast, kMost);
  const Stopwatch start;
  for (std::int64_t i = 0; i < passes; ++i) {
    sampler_.probabilities(verifier_.feed({&last_, 1}, false));
    verifier_.rewind(base);
  }
  return start.seconds() / static_cast<double>(passes);
}

}  // namespace mnm
