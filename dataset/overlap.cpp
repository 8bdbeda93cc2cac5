#include "dataset/overlap.h"

#include <algorithm>
#include <cstddef>
#include <span>
#include <unordered_map>
#include <vector>

namespace mnm {
namespace {

// A polynomial in kBase modulo 2^64, so that a window's hash follows from its neighbour's. What it
// takes for equal is compared.
constexpr std::uint64_t kBase = 0x9e3779b97f4a7c15;

std::uint64_t word(std::int64_t token) { return static_cast<std::uint64_t>(token) + 1; }

std::uint64_t hash_of(std::span<const std::int64_t> tokens) {
  std::uint64_t hash = 0;
  for (const std::int64_t token : tokens) hash = hash * kBase + word(token);
  return hash;
}

// Tokens one after the other, of which a block is held.
class Walk {
 public:
  explicit Walk(const TokenExamples& data) : data_(data) {}

  // Of positions that ascend.
  std::int64_t at(std::uint64_t position) {
    if (position - begin_ >= block_.size()) {
      begin_ = position;
      block_.resize(std::min<std::uint64_t>(data_.size() - position, kBlock));
      data_.read(begin_, block_);
    }
    return block_[position - begin_];
  }

 private:
  static constexpr std::uint64_t kBlock = 1 << 16;
  const TokenExamples& data_;
  std::uint64_t begin_ = 0;
  std::vector<std::int64_t> block_;
};

}  // namespace

std::int64_t sequences_within(const TokenExamples& part, const TokenExamples& other) {
  const auto context = static_cast<std::size_t>(part.context);
  const std::size_t length = context + 1;
  if (other.size() < length) return 0;

  std::unordered_multimap<std::uint64_t, std::int64_t> wanted;  // hash -> sequence of `part`
  std::vector<std::int64_t> sequence(length), window(length);
  const auto read_sequence = [&](std::int64_t i) {
    part.read(static_cast<std::uint64_t>(i) * context, sequence);
  };
  for (std::int64_t i = 0; i < part.count; ++i) {
    read_sequence(i);
    wanted.emplace(hash_of(sequence), i);
  }
  std::uint64_t leaving = 1;  // kBase^(length - 1): the weight of a window's first token
  for (std::size_t i = 1; i < length; ++i) leaving *= kBase;

  std::int64_t found = 0;
  other.read(0, window);
  std::uint64_t hash = hash_of(window);
  Walk first(other), next(other);
  for (std::uint64_t at = 0;; ++at) {
    auto [candidate, end] = wanted.equal_range(hash);
    if (candidate != end) other.read(at, window);
    while (candidate != end) {
      read_sequence(candidate->second);
      if (sequence != window) {
        ++candidate;
        continue;
      }
      candidate = wanted.erase(candidate);
      ++found;
    }
    if (wanted.empty() || at + length == other.size()) return found;
    hash = (hash - leaving * word(first.at(at))) * kBase + word(next.at(at + length));
  }
}

std::int64_t shared_sequences(const TokenExamples& a, const TokenExamples& b) {
  return std::max(sequences_within(a, b), sequences_within(b, a));
}

}  // namespace mnm
