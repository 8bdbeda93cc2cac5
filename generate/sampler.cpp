#include "generate/sampler.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstddef>
#include <numeric>

#include "base/error.h"

namespace mnm {
namespace {

// exp(x) for x <= 0, as plain arithmetic that compilers turn into vector code.
[[gnu::always_inline]] inline double exp_below(double x) {
  constexpr double kRound = 6755399441055744.0;  // 1.5 * 2^52: adding it rounds to an integer
  // Below it, and for NaN, the result is 0: e^-708 is the smallest that has all its digits.
  const double in = x > -708 ? x : -708;
  // in = n ln 2 + r, |r| <= ln 2 / 2; ln 2 in two parts, the first with few enough bits for n * it.
  const double shifted = in * 1.4426950408889634 + kRound, n = shifted - kRound;
  const double r = (in - n * 6.93147180369123816490e-01) - n * 1.90821492927058770002e-10;
  // Taylor's series: the term after the last is below 0.35^14 / 14! < 5e-18.
  double p = 1.0 / 6227020800;
  p = p * r + 1.0 / 479001600;
  p = p * r + 1.0 / 39916800;
  p = p * r + 1.0 / 3628800;
  p = p * r + 1.0 / 362880;
  p = p * r + 1.0 / 40320;
  p = p * r + 1.0 / 5040;
  p = p * r + 1.0 / 720;
  p = p * r + 1.0 / 120;
  p = p * r + 1.0 / 24;
  p = p * r + 1.0 / 6;
  p = p * r + 0.5;
  p = p * r + 1;
  p = p * r + 1;
  // The low bits of `shifted` hold n: into the exponent with them.
  const double e = std::bit_cast<double>(std::bit_cast<std::uint64_t>(p) +
                                         (std::bit_cast<std::uint64_t>(shifted) << 52));
  return x > -708 ? e : 0;
}

// weights[i] = exp((logits[i] - most) / temperature). As nothing is fused, all versions of the
// function give the same bits.
#if defined(__x86_64__) && !defined(__clang__)
[[gnu::target_clones("avx2", "default")]]
#endif
void exp_of_all(const float* logits, std::size_t n, double most, double temperature,
                double* weights) {
  for (std::size_t i = 0; i < n; ++i) {
    weights[i] = exp_below((static_cast<double>(logits[i]) - most) / temperature);
  }
}

// The most likely token first; of two that are as likely, the one with the lower id.
class Likelier {
 public:
  explicit Likelier(std::span<const float> logits) : logits_(logits) {}
  bool operator()(std::int64_t a, std::int64_t b) const {
    const float x = logits_[static_cast<std::size_t>(a)];
    const float y = logits_[static_cast<std::size_t>(b)];
    return x > y || (x == y && a < b);
  }

 private:
  std::span<const float> logits_;
};

}  // namespace

double exp_of_negative(double x) { return exp_below(x); }

Sampler::Sampler(const Sampling& sampling) : sampling_(sampling) {
  if (!(sampling.temperature >= 0 && std::isfinite(sampling.temperature))) {
    fail_usage("the temperature must be 0, for greedy, or above, not {}", sampling.temperature);
  }
  if (sampling.top_k < 0) fail_usage("top-k must be 0, for all, or above, not {}", sampling.top_k);
  if (!(sampling.top_p > 0 && sampling.top_p <= 1)) {
    fail_usage("top-p must be above 0 and at most 1, not {}", sampling.top_p);
  }
}

// The most likely token; of several, the first.
std::int64_t Sampler::likeliest_of(std::span<const float> logits) const {
  constexpr std::size_t kParts = 16;  // each has a maximum of its own: they are found together
  std::array<float, kParts> most_of;
  most_of.fill(-HUGE_VALF);
  std::array<bool, kParts> nan_in{};
  const std::size_t even = logits.size() / kParts * kParts;
  const auto take = [&](std::size_t part, float logit) {
    most_of[part] = logit > most_of[part] ? logit : most_of[part];
    nan_in[part] |= logit != logit;
  };
  for (std::size_t i = 0; i < even; i += kParts) {
    for (std::size_t part = 0; part < kParts; ++part) take(part, logits[i + part]);
  }
  for (std::size_t i = even; i < logits.size(); ++i) take(i - even, logits[i]);
  const float most = *std::ranges::max_element(most_of);
  if (std::ranges::find(nan_in, true) != nan_in.end() || !std::isfinite(most)) {
    fail("the model's logits are no numbers: there is no next token");
  }
  return std::ranges::find(logits, most) - logits.begin();
}

// Leaves in `tokens_` the tokens that may be drawn, the most likely first, and returns the sum of
// their weights. top_p is a share of `total`.
double Sampler::cut(std::span<const float> logits, double total) {
  tokens_.resize(logits.size());
  std::iota(tokens_.begin(), tokens_.end(), std::int64_t{0});
  const auto weight = [&](std::int64_t id) { return weights_[static_cast<std::size_t>(id)]; };
  const auto most = static_cast<std::size_t>(sampling_.top_k);
  const std::size_t allowed = most > 0 ? std::min(most, tokens_.size()) : tokens_.size();
  // Few tokens have most of the weight: so many are sorted, and more if they do not suffice.
  for (std::size_t sorted = most > 0 ? allowed : std::min<std::size_t>(allowed, 64);;
       sorted = std::min(allowed, 8 * sorted)) {
    const auto end = tokens_.begin() + static_cast<std::ptrdiff_t>(sorted);
    if (sorted < tokens_.size()) {
      std::nth_element(tokens_.begin(), end, tokens_.end(), Likelier(logits));
    }
    std::sort(tokens_.begin(), end, Likelier(logits));
    if (most > 0) {
      total = 0;
      for (std::size_t i = 0; i < sorted; ++i) total += weight(tokens_[i]);
    }
    double kept = 0;
    std::size_t count = 0;
    while (count < sorted && (sampling_.top_p == 1 || kept < sampling_.top_p * total)) {
      kept += weight(tokens_[count++]);
    }
    if (count < sorted || sorted == allowed) {
      tokens_.resize(count);
      return kept;
    }
  }
}

// The weights of all tokens, those that may not be drawn included, and in `tokens_` which may be if
// not all. Returns the sum of the weights of those.
double Sampler::weigh(std::span<const float> logits, std::int64_t likeliest) {
  const double most = logits[static_cast<std::size_t>(likeliest)];
  weights_.resize(logits.size());
  exp_of_all(logits.data(), logits.size(), most, sampling_.temperature, weights_.data());
  tokens_.clear();
  double total = 0;
  for (const double weight : weights_) total += weight;
  return sampling_.top_k > 0 || sampling_.top_p < 1 ? cut(logits, total) : total;
}

std::int64_t Sampler::pick(std::span<const float> logits, double uniform) {
  const std::int64_t likeliest = likeliest_of(logits);
  if (greedy()) return likeliest;
  const double total = weigh(logits, likeliest);
  const std::size_t count = tokens_.empty() ? weights_.size() : tokens_.size();
  const auto token = [&](std::size_t i) {
    return tokens_.empty() ? static_cast<std::int64_t>(i) : tokens_[i];
  };
  double left = uniform * total;
  std::int64_t last = likeliest;  // that has any weight: only rounding comes to the end
  for (std::size_t i = 0; i < count; ++i) {
    const double weight = weights_[static_cast<std::size_t>(token(i))];
    if (left < weight) return token(i);
    left -= weight;
    if (weight > 0) last = token(i);
  }
  return last;
}

std::vector<double> Sampler::probabilities(std::span<const float> logits) {
  std::vector<double> all(logits.size(), 0);
  const std::int64_t likeliest = likeliest_of(logits);
  if (greedy()) {
    all[static_cast<std::size_t>(likeliest)] = 1;
    return all;
  }
  const double total = weigh(logits, likeliest);
  if (tokens_.empty()) {
    std::ranges::transform(weights_, all.begin(), [&](double weight) { return weight / total; });
  }
  for (const std::int64_t id : tokens_) {
    const auto i = static_cast<std::size_t>(id);
    all[i] = weights_[i] / total;
  }
  return all;
}

std::int64_t draw(std::span<const double> weights, double total, double uniform) {
  double left = uniform * total;
  std::int64_t last = -1;
  for (std::size_t i = 0; i < weights.size(); ++i) {
    if (weights[i] <= 0) continue;
    last = static_cast<std::int64_t>(i);
    if (left < weights[i]) return last;
    left -= weights[i];
  }
  if (last < 0) fail("cannot draw among {} tokens: none of them has a weight", weights.size());
  return last;  // only rounding comes here
}

}  // namespace mnm
