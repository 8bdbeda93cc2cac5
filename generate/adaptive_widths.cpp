#include "generate/adaptive_widths.h"

#include <cmath>
#include <utility>

namespace mnm {

double margin_of(std::span<const float> logits) {
  if (logits.size() < 2) return 1;
  float first = -HUGE_VALF, second = -HUGE_VALF;
  for (const float logit : logits) {
    if (logit > first) {
      second = std::exchange(first, logit);
    } else if (logit > second) {
      second = logit;
    }
  }
  double sum = 0;
  for (const float logit : logits) {
    sum += exp_of_negative(static_cast<double>(logit) - static_cast<double>(first));
  }
  return (1 - exp_of_negative(static_cast<double>(second) - static_cast<double>(first))) / sum;
}

AdaptiveWidths::AdaptiveWidths(Sequences& sequences, std::int64_t context, Widths narrow,
                               Widths wide, double margin, Sampler& sampler, Random& random)
    : sequences_(sequences),
      sequence_(sequences, {.context = context, .take_back = 1}),
      narrow_(std::move(narrow)),
      widest_(std::move(wide)),
      margin_(margin),
      sampler_(sampler),
      random_(random) {}

std::span<const float> AdaptiveWidths::step(const Widths& widths,
                                            std::span<const std::int64_t> tokens, bool settled) {
  const Feed feed{
      .sequence = sequence_.id(), .widths = widths, .tokens = tokens, .settled = settled};
  return sequences_.step({&feed, 1}).front();
}

void AdaptiveWidths::read(std::span<const std::int64_t> part) {
  logits_ = step(widest_, part, true);
}

std::span<const float> AdaptiveWidths::feed(std::span<const std::int64_t> tokens) {
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    const std::span<const std::int64_t> token = tokens.subspan(i, 1);
    logits_ = step(narrow_, token, false);
    ++computed_;
    if (margin_of(logits_) >= margin_) continue;
    sequences_.rewind(sequence_.id(), sequences_.length(sequence_.id()) - 1);
    logits_ = step(widest_, token, true);
    ++wide_tokens_;
  }
  return logits_;
}

std::vector<std::int64_t> AdaptiveWidths::next(std::int64_t) {
  feed(last_);
  last_ = {sampler_.pick(logits_, random_.uniform())};
  return last_;
}

}  // namespace mnm
