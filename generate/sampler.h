// Chooses the next token from logits. Pure: the same logits, settings and number give the same
// token on every machine. libm is not used, because its last digits differ between systems.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace mnm {

struct Sampling {
  double temperature = 0;  // 0: greedy, the most likely token (of several, the first)
  std::int64_t top_k = 0;  // draw among so many of the most likely; 0: among all
  double top_p = 1;        // draw among the fewest that reach this probability
};

class Sampler {
 public:
  explicit Sampler(const Sampling& sampling);  // UsageError names the setting that is out of range

  // Chooses a token. `uniform` in [0, 1) decides; it has no effect if the choice is greedy. The
  // temperature is applied first, then top_k, then top_p to what is left. Error if the logits are
  // not numbers.
  std::int64_t pick(std::span<const float> logits, double uniform);

  // The distribution that `pick` draws from, [vocab], which sums to 1 but for rounding. If the
  // choice is greedy, one token has all. Error as of `pick`.
  std::vector<double> probabilities(std::span<const float> logits);

  const Sampling& sampling() const { return sampling_; }
  bool greedy() const { return sampling_.temperature == 0; }

 private:
  std::int64_t likeliest_of(std::span<const float> logits) const;
  double weigh(std::span<const float> logits, std::int64_t likeliest);
  double cut(std::span<const float> logits, double total);

  Sampling sampling_;
  // Of one call: [vocab] weights, and the tokens that may be drawn; none: all.
  std::vector<double> weights_;
  std::vector<std::int64_t> tokens_;
};

// Draws from [vocab] weights that are not negative and sum to `total` but for rounding: the first
// token at which the sum of the weights exceeds uniform * total. Error if all are zero.
std::int64_t draw(std::span<const double> weights, double total, double uniform);

// exp(x) for x <= 0, within 2e-16 of it; 0 below e^-708. It uses only additions and products.
double exp_of_negative(double x);

}  // namespace mnm
