// Which positions of a sequence are scored, where not all are.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace mnm {

// A share of every sequence's positions. With a large vocabulary the readout dominates, and paired
// differences need few positions.
struct PositionShare {
  std::int64_t numerator = 1, denominator = 1;
  std::uint64_t seed = 0;

  bool all() const { return numerator == denominator; }
  // At least one.
  std::int64_t of(std::int64_t context) const;
  std::string text() const;  // "1/4"
};

// "1/4", "1". UsageError unless it is more than 0 and at most 1, of terms below a million.
PositionShare parse_position_share(std::string_view text);

// share.of(context) positions of that sequence, ascending: drawn without replacement by the share's
// seed and the sequence's number, the same on every machine.
std::vector<std::int32_t> draw_positions(const PositionShare& share, std::int64_t context,
                                         std::int64_t sequence);

}  // namespace mnm
