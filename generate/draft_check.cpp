#include "generate/draft_check.h"

#include <algorithm>
#include <numeric>
#include <optional>

#include "base/stopwatch.h"
#include "generate/draft_length.h"
#include "generate/generation.h"
#include "generate/scheduled_widths.h"

namespace mnm {
namespace {

using Tokens = std::vector<std::int64_t>;

// Means, as the speeds that they predict are: other programs slow all of them down alike.
double mean_of(const std::vector<double>& values) {
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

class Check {
 public:
  Check(Sequences& sequences, const DraftCheckSettings& settings)
      : sequences_(sequences),
        settings_(settings),
        sampler_(settings.sampling),
        random_(settings.seed) {}

  void add(const Tokens& prompt) {
    const Tokens text = write_alone(prompt);
    read_again(prompt, text);
    write_together(prompt);
  }

  DraftCheck result() const {
    const auto length = settings_.speculation.draft_tokens;
    DraftCheck check;
    check.tokens = static_cast<std::int64_t>(agrees_.size());
    check.acceptance = likely_ / static_cast<double>(agrees_.size());
    const DraftRounds rounds = draft_rounds(agrees_, length);
    check.tokens_per_verification = rounds.tokens;
    check.whole = rounds.whole;
    check.alone = alone_seconds_ / static_cast<double>(alone_tokens_);
    check.draft = mean_of(draft_);
    check.verification = mean_of(verification_);
    if (!two_.empty()) check.catching_up = std::max(0.0, mean_of(two_) - check.draft);
    check.predicted = check.tokens_per_verification * check.alone /
                      (static_cast<double>(length) * check.draft + check.whole * check.catching_up +
                       check.verification);
    check.formula = expected_speedup(check.acceptance, length, check.draft / check.alone);
    check.measured = check.alone / (together_seconds_ / static_cast<double>(together_tokens_));
    return check;
  }

 private:
  Generation write(TokenSource& source, const Tokens& prompt) const {
    const auto most = static_cast<std::int64_t>(prompt.size()) + settings_.new_tokens;
    return generate(source, prompt, {settings_.new_tokens, most, {}},
                    [](std::optional<std::int64_t>) { return true; });
  }

  Tokens write_alone(const Tokens& prompt) {
    ScheduledWidths source(sequences_, {.context = settings_.speculation.context},
                           {{0, settings_.speculation.verifier}}, sampler_, random_);
    const Generation out = write(source, prompt);
    alone_seconds_ += out.decode_seconds;
    alone_tokens_ += out.decoded;
    return out.tokens;
  }

  void write_together(const Tokens& prompt) {
    Speculation source(sequences_, settings_.speculation, sampler_, random_);
    const Generation out = write(source, prompt);
    together_seconds_ += out.decode_seconds;
    together_tokens_ += out.decoded;
  }

  // The distribution of the next token after some, and the time that it takes.
  std::vector<double> after(SequenceId sequence, const Widths& widths,
                            std::span<const std::int64_t> tokens, double* seconds) {
    const Stopwatch start;
    const Feed feed{.sequence = sequence, .widths = widths, .tokens = tokens};
    std::vector<double> out = sampler_.probabilities(sequences_.step({&feed, 1}).front());
    if (seconds != nullptr) *seconds = start.seconds();
    return out;
  }

  // How likely the draft's proposal would be accepted at each token of the verifier's text. If the
  // cache is shared, the draft reads what the verifier computed.
  void read_again(const Tokens& prompt, const Tokens& text) {
    const SpeculationSettings& pair = settings_.speculation;
    const SequenceOptions options = {.context = pair.context, .take_back = pair.draft_tokens + 2};
    const OpenSequence of_verifier(sequences_, options), of_draft(sequences_, options);
    const SequenceId verifier = of_verifier.id(), draft = of_draft.id();
    const bool shared = pair.cache == DraftCache::kShared;
    const std::span<const std::int64_t> start(prompt.data(), prompt.size() - 1);
    if (!start.empty()) {
      after(verifier, pair.verifier, start, nullptr);
      if (!shared) after(draft, pair.draft, start, nullptr);
    }
    Tokens last = {prompt.back()};
    std::optional<std::int64_t> before;
    for (const std::int64_t token : text) {
      double seconds = 0;
      if (!shared && before) {  // timed, and taken back
        const std::int64_t read = sequences_.length(draft);
        sequences_.rewind(draft, read - 1);
        after(draft, pair.draft, Tokens{*before, last.front()}, &seconds);
        two_.push_back(seconds);
        sequences_.rewind(draft, read);
      }
      const std::vector<double> q = after(shared ? verifier : draft, pair.draft, last, &seconds);
      draft_.push_back(seconds);
      if (shared) sequences_.rewind(verifier, sequences_.length(verifier) - 1);
      const std::vector<double> p = after(verifier, pair.verifier, last, nullptr);
      double accepted = 0;
      for (std::size_t i = 0; i < p.size(); ++i) accepted += std::min(p[i], q[i]);
      likely_ += accepted;
      agrees_.push_back(random_.chance(accepted));
      before = last.front();
      last = {token};
    }
    time_verification(verifier, last.front());
  }

  void time_verification(SequenceId verifier, std::int64_t token) {
    const std::int64_t rows = settings_.speculation.draft_tokens + 1;
    // Within the positions of the text.
    sequences_.rewind(verifier, std::max<std::int64_t>(0, sequences_.length(verifier) - rows));
    const Tokens tokens(static_cast<std::size_t>(rows), token);
    const Stopwatch start;
    const Feed feed{.sequence = verifier,
                    .widths = settings_.speculation.verifier,
                    .tokens = tokens,
                    .every_position = true};
    const std::span<const float> logits = sequences_.step({&feed, 1}).front();
    const std::size_t vocab = logits.size() / tokens.size();
    for (std::size_t i = 0; i < tokens.size(); ++i) {
      sampler_.probabilities(logits.subspan(i * vocab, vocab));
    }
    verification_.push_back(start.seconds());
  }

  Sequences& sequences_;
  const DraftCheckSettings& settings_;
  Sampler sampler_;
  Random random_;
  std::vector<bool> agrees_;
  double likely_ = 0;
  double alone_seconds_ = 0, together_seconds_ = 0;
  std::int64_t alone_tokens_ = 0, together_tokens_ = 0;
  std::vector<double> draft_, two_, verification_;  // seconds
};

}  // namespace

DraftCheck check_draft(Sequences& sequences, const DraftCheckSettings& settings,
                       std::span<const std::vector<std::int64_t>> prompts,
                       const ProgressSink& progress) {
  Check check(sequences, settings);
  for (std::size_t i = 0; i < prompts.size(); ++i) {
    if (progress && !progress({static_cast<double>(i), static_cast<double>(prompts.size())})) {
      throw Stopped();
    }
    check.add(prompts[i]);
  }
  return check.result();
}

}  // namespace mnm
