// Which positions of a sequence are scored, if not all are.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace mnm {

// A share of the positions of every sequence. With a large vocabulary the readout takes most of the
// time, and paired differences need few positions.
struct PositionShare {
  std::int64_t numerator = 1, denominator = 1;
  std::uint64_t seed = 0;

  bool all() const { return numerator == denominator; }
  // At least one.
  std::int64_t of(std::int64_t context) const;
  std::string text() const;  // "1/4"
};

// "1/4", "1". UsageError unless the share is more than 0 and at most 1, and its terms are below a
// million.
PositionShare parse_position_share(std::string_view text);

// share.of(context) positions of that sequence, ascending. They are drawn without replacement from
// the share's seed and the number of the sequence, and are the same on every machine.
std::vector<std::int32_t> draw_positions(const PositionShare& share, std::int64_t context,
                                         std::int64_t sequence);

}  // namespace mnm
