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

std::uint64_t word(std::int32_t token) { return static_cast<std::uint64_t>(token) + 1; }

std::uint64_t hash_of(std::span<const std::int32_t> tokens) {
  std::uint64_t hash = 0;
  for (const std::int32_t token : tokens) hash = hash * kBase + word(token);
  return hash;
}

}  // namespace

std::int64_t sequences_within(const TokenExamples& part, const TokenExamples& other) {
  const auto context = static_cast<std::size_t>(part.context);
  const std::size_t length = context + 1;
  const std::span<const std::int32_t> text = other.tokens;
  if (text.size() < length) return 0;

  std::unordered_multimap<std::uint64_t, std::span<const std::int32_t>> wanted;
  for (std::int64_t i = 0; i < part.count; ++i) {
    const auto sequence =
        std::span(part.tokens).subspan(static_cast<std::size_t>(i) * context, length);
    wanted.emplace(hash_of(sequence), sequence);
  }
  std::uint64_t leaving = 1;  // kBase^(length - 1): the weight of a window's first token
  for (std::size_t i = 1; i < length; ++i) leaving *= kBase;

  std::int64_t found = 0;
  std::uint64_t hash = hash_of(text.first(length));
  for (std::size_t at = 0;; ++at) {
    const auto window = text.subspan(at, length);
    auto [candidate, end] = wanted.equal_range(hash);
    while (candidate != end) {
      if (!std::ranges::equal(candidate->second, window)) {
        ++candidate;
        continue;
      }
      candidate = wanted.erase(candidate);
      ++found;
    }
    if (wanted.empty() || at + length == text.size()) return found;
    hash = (hash - leaving * word(text[at])) * kBase + word(text[at + length]);
  }
}

std::int64_t shared_sequences(const TokenExamples& a, const TokenExamples& b) {
  return std::max(sequences_within(a, b), sequences_within(b, a));
}

}  // namespace mnm
