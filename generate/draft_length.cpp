#include "generate/draft_length.h"

namespace mnm {

double tokens_per_verification(double acceptance, std::int64_t length) {
  double sum = 1, power = 1;
  for (std::int64_t i = 0; i < length; ++i) sum += power *= acceptance;
  return sum;
}

double expected_speedup(double acceptance, std::int64_t length, double cost, double verification) {
  return tokens_per_verification(acceptance, length) /
         (static_cast<double>(length) * cost + verification);
}

DraftLength best_draft_length(double acceptance, double cost, std::int64_t most) {
  DraftLength best;
  for (std::int64_t length = 1; length <= most; ++length) {
    const double speedup = expected_speedup(acceptance, length, cost);
    if (speedup > best.speedup) best = {length, speedup};
  }
  return best;
}

void RecentAcceptance::add(std::int64_t accepted, std::int64_t tested) {
  constexpr double kMemory = 0.95;
  for (std::int64_t i = 0; i < tested; ++i) {
    accepted_ = kMemory * accepted_ + (i < accepted ? 1 : 0);
    tested_ = kMemory * tested_ + 1;
  }
}

DraftRounds draft_rounds(const std::vector<bool>& agrees, std::int64_t length) {
  if (agrees.empty()) return {};
  std::int64_t rounds = 0, whole = 0;
  std::size_t at = 0;
  for (; at < agrees.size(); ++rounds) {
    std::int64_t run = 0;
    while (run < length && at < agrees.size() && agrees[at]) ++at, ++run;
    if (run == length) ++whole;
    ++at;  // the verifier's own
  }
  const auto count = static_cast<double>(rounds);
  return {static_cast<double>(at) / count, static_cast<double>(whole) / count};
}

}  // namespace mnm
