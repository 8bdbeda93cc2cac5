// From logits to the next token. Pure: the same logits, settings and number give the same token on
// every machine (no libm, whose last digits differ between systems).
#pragma once

#include <cstdint>
#include <span>
#include <utility>
#include <vector>

namespace mnm {

struct Sampling {
  double temperature = 0;  // 0: greedy, the most likely token (of several, the first)
  std::int64_t top_k = 0;  // only among so many of the most likely; 0: among all
  double top_p = 1;        // only among the fewest most likely ones that reach this probability
};

class Sampler {
 public:
  explicit Sampler(const Sampling& sampling);  // UsageError names the setting that is out of range

  // `uniform` in [0, 1) decides; of no effect where greedy. Temperature first, then top_k, then
  // top_p of what is left. Error where the logits are no numbers.
  std::int64_t pick(std::span<const float> logits, double uniform);

 private:
  Sampling sampling_;
  std::vector<std::pair<double, std::int64_t>> weights_;  // of one call
};

// exp(x) for x <= 0, within 2e-16 of it, in additions and products alone.
double exp_of_negative(double x);

}  // namespace mnm
