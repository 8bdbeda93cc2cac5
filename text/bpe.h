// Byte-pair encoding: turns the symbols of a piece of text into tokens. The pair of neighbours
// whose merge has the lowest rank becomes one token; of several such pairs, the leftmost does. This
// is repeated until no two neighbours have a merge.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

namespace mnm {

class BytePairMerges {
 public:
  // Makes room for so many merges.
  explicit BytePairMerges(std::size_t pairs);

  // Adds a merge: two neighbouring ids become `made`. If a pair is added twice, the last merge
  // counts.
  void add(std::int32_t left, std::int32_t right, std::int32_t rank, std::int32_t made);
  bool empty() const { return count_ == 0; }

  // Appends the tokens that `symbols` become. O(n log n). `ask` is called once in some thousand
  // merges, and may throw.
  void apply(const std::vector<std::int32_t>& symbols, std::vector<std::int64_t>& out,
             const std::function<void()>& ask = {}) const;

 private:
  struct Entry {
    std::int32_t left = -1, right = -1, rank = 0, made = 0;  // left -1: free
  };
  const Entry* find(std::int32_t left, std::int32_t right) const;
  std::size_t slot_of(std::int32_t left, std::int32_t right) const;

  std::vector<Entry> entries_;  // a hash table: a power of two, at most half of it used
  std::size_t count_ = 0;
  std::uint64_t seed_;  // of the places in the table; random, and no result depends on it
};

}  // namespace mnm
