#include "generate/sampler.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/error.h"

namespace mnm {

double exp_of_negative(double x) {
  if (!(x > -745)) return 0;  // below the smallest double
  // x = n ln 2 + r, |r| <= ln 2 / 2; ln 2 in two parts, the first with few enough bits for n * it.
  const double n = std::floor(x * 1.4426950408889634 + 0.5);
  const double r = (x - n * 6.93147180369123816490e-01) - n * 1.90821492927058770002e-10;
  // Taylor's series: the term after the last is below 0.35^14 / 14! < 5e-18.
  double sum = 1;
  for (int k = 13; k >= 1; --k) sum = 1 + sum * r / k;
  return std::ldexp(sum, static_cast<int>(n));
}

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
  float most = -HUGE_VALF;
  std::int64_t likeliest = 0;
  bool numbers = true;
  for (std::size_t i = 0; i < logits.size(); ++i) {
    numbers = numbers && !std::isnan(logits[i]);
    if (logits[i] > most) {
      most = logits[i];
      likeliest = static_cast<std::int64_t>(i);
    }
  }
  if (!numbers || !std::isfinite(most)) {
    fail("the model's logits are no numbers: there is no next token");
  }
  return likeliest;
}

// The tokens that may be drawn, and their weights. Returns the sum of the weights.
double Sampler::weigh(std::span<const float> logits, std::int64_t likeliest) {
  const float most = logits[static_cast<std::size_t>(likeliest)];
  weights_.clear();
  for (std::size_t i = 0; i < logits.size(); ++i) {
    const double below = static_cast<double>(logits[i]) - static_cast<double>(most);
    weights_.emplace_back(exp_of_negative(below / sampling_.temperature),
                          static_cast<std::int64_t>(i));
  }
  const auto likelier = [&](const auto& a, const auto& b) {
    const float x = logits[static_cast<std::size_t>(a.second)];
    const float y = logits[static_cast<std::size_t>(b.second)];
    return x > y || (x == y && a.second < b.second);
  };
  if (sampling_.top_k > 0 && std::cmp_less(sampling_.top_k, weights_.size())) {
    std::nth_element(weights_.begin(), weights_.begin() + sampling_.top_k, weights_.end(),
                     likelier);
    weights_.resize(static_cast<std::size_t>(sampling_.top_k));
  }
  // One order for the sums, whatever the library's selection left.
  if (sampling_.top_k > 0 || sampling_.top_p < 1) std::ranges::sort(weights_, likelier);
  double total = 0;
  for (const auto& [weight, id] : weights_) total += weight;
  if (sampling_.top_p == 1) return total;
  double kept = 0;
  std::size_t count = 0;
  while (count < weights_.size() && kept < sampling_.top_p * total) kept += weights_[count++].first;
  weights_.resize(count);
  return kept;
}

std::int64_t Sampler::pick(std::span<const float> logits, double uniform) {
  const std::int64_t likeliest = likeliest_of(logits);
  if (greedy()) return likeliest;
  const double total = weigh(logits, likeliest);
  double left = uniform * total;
  for (const auto& [weight, id] : weights_) {
    if (left < weight) return id;
    left -= weight;
  }
  // Only rounding comes here: the last that has any weight.
  for (std::size_t i = weights_.size(); i-- > 0;) {
    if (weights_[i].first > 0) return weights_[i].second;
  }
  return likeliest;
}

std::vector<double> Sampler::probabilities(std::span<const float> logits) {
  std::vector<double> all(logits.size(), 0);
  const std::int64_t likeliest = likeliest_of(logits);
  if (greedy()) {
    all[static_cast<std::size_t>(likeliest)] = 1;
    return all;
  }
  const double total = weigh(logits, likeliest);
  for (const auto& [weight, id] : weights_) all[static_cast<std::size_t>(id)] = weight / total;
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
