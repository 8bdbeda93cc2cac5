#include "dataset/positions.h"

#include <algorithm>
#include <charconv>
#include <numeric>

#include "base/error.h"
#include "base/random.h"

namespace mnm {
namespace {

constexpr std::int64_t kMostTerm = 999'999;

}  // namespace

std::int64_t PositionShare::of(std::int64_t context) const {
  // Without overflow: the remainder of the division is less than a million.
  return std::max<std::int64_t>(
      1, context / denominator * numerator + context % denominator * numerator / denominator);
}

std::string PositionShare::text() const {
  return all() ? "1" : fmt::format("{}/{}", numerator, denominator);
}

PositionShare parse_position_share(std::string_view text) {
  const auto number = [](std::string_view digits) {
    std::int64_t value = 0;
    const char* const end = digits.data() + digits.size();
    const auto [at, error] = std::from_chars(digits.data(), end, value);
    return error == std::errc() && at == end && value <= kMostTerm ? value : 0;
  };
  const std::size_t slash = text.find('/');
  PositionShare share;
  share.numerator = number(text.substr(0, slash));
  share.denominator = slash == std::string_view::npos ? 1 : number(text.substr(slash + 1));
  if (share.numerator <= 0 || share.denominator < share.numerator) {
    fail_usage("'{}' is no share of the positions: expected a fraction of at most 1, such as 1/4",
               text);
  }
  const std::int64_t common = std::gcd(share.numerator, share.denominator);
  share.numerator /= common;
  share.denominator /= common;
  return share;
}

// Each position is taken with the probability that fills what is left to take (Fan, Muller and
// Rezucha, 1962): ascending, and every subset is as likely as any other.
std::vector<std::int32_t> draw_positions(const PositionShare& share, std::int64_t context,
                                         std::int64_t sequence) {
  std::uint64_t state = share.seed;
  state = split_mix(state) ^ static_cast<std::uint64_t>(sequence);
  std::int64_t wanted = share.of(context);
  std::vector<std::int32_t> positions;
  positions.reserve(static_cast<std::size_t>(wanted));
  for (std::int64_t t = 0; wanted > 0; ++t) {
    // The upper 32 bits scaled to [0, left): biased by less than context / 2^32.
    const std::uint64_t left = static_cast<std::uint64_t>(context - t);
    if (((split_mix(state) >> 32) * left) >> 32 >= static_cast<std::uint64_t>(wanted)) continue;
    positions.push_back(static_cast<std::int32_t>(t));
    --wanted;
  }
  return positions;
}

}  // namespace mnm
