// The merges of byte-pair encoding: of the neighbours in a piece the pair of the lowest rank
// becomes one token, of several the leftmost, until none is left.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

namespace mnm {

class BytePairMerges {
 public:
  // Room for so many pairs.
  explicit BytePairMerges(std::size_t pairs);

  // Two neighbouring ids become `made`; of equal pairs the last one added counts.
  void add(std::int32_t left, std::int32_t right, std::int32_t rank, std::int32_t made);
  bool empty() const { return count_ == 0; }

  // Appends what becomes of `symbols`. O(n log n).
  void apply(const std::vector<std::int32_t>& symbols, std::vector<std::int64_t>& out) const;

 private:
  struct Entry {
    std::int32_t left = -1, right = -1, rank = 0, made = 0;  // left -1: free
  };
  const Entry* find(std::int32_t left, std::int32_t right) const;
  std::size_t slot_of(std::int32_t left, std::int32_t right) const;

  std::vector<Entry> entries_;  // a hash table of a power of two, at most half full
  std::size_t count_ = 0;
};

}  // namespace mnm
