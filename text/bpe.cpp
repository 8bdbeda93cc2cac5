#include "text/bpe.h"

#include <algorithm>
#include <bit>
#include <queue>
#include <random>
#include <utility>

namespace mnm {

BytePairMerges::BytePairMerges(std::size_t pairs)
    : entries_(std::bit_ceil(2 * std::max<std::size_t>(pairs, 1))) {
  std::random_device random;
  seed_ = static_cast<std::uint64_t>(random()) << 32 | random();
}

// Where the pair is, or would be.
std::size_t BytePairMerges::slot_of(std::int32_t left, std::int32_t right) const {
  // The finalizer of SplitMix64 (Steele, Lea and Flood 2014), before and after the seed. Without a
  // seed, somebody could choose pairs that all fall on one place.
  const auto mixed = [](std::uint64_t key) {
    key = (key ^ key >> 30) * 0xbf58476d1ce4e5b9u;
    key = (key ^ key >> 27) * 0x94d049bb133111ebu;
    return key ^ key >> 31;
  };
  const std::uint64_t key =
      static_cast<std::uint64_t>(left) << 32 | static_cast<std::uint32_t>(right);
  std::size_t slot = mixed(mixed(key) + seed_) & (entries_.size() - 1);
  while (entries_[slot].left >= 0 &&
         (entries_[slot].left != left || entries_[slot].right != right)) {
    slot = (slot + 1) & (entries_.size() - 1);
  }
  return slot;
}

void BytePairMerges::add(std::int32_t left, std::int32_t right, std::int32_t rank,
                         std::int32_t made) {
  Entry& entry = entries_[slot_of(left, right)];
  if (entry.left < 0) ++count_;
  entry = {left, right, rank, made};
}

const BytePairMerges::Entry* BytePairMerges::find(std::int32_t left, std::int32_t right) const {
  const Entry& entry = entries_[slot_of(left, right)];
  return entry.left < 0 ? nullptr : &entry;
}

void BytePairMerges::apply(const std::vector<std::int32_t>& symbols, std::vector<std::int64_t>& out,
                           const std::function<void()>& ask) const {
  struct Symbol {
    std::int32_t id;              // -1: swallowed by the one before
    std::int32_t previous, next;  // -1: none
  };
  struct Candidate {
    std::int32_t rank, id;  // of the merge, and what it makes
    std::int32_t at;        // its left symbol
    bool operator>(const Candidate& other) const {
      return std::pair(rank, at) > std::pair(other.rank, other.at);
    }
  };
  const auto size = static_cast<std::int32_t>(symbols.size());
  std::vector<Symbol> chain(symbols.size());
  const auto symbol = [&](std::int32_t i) -> Symbol& { return chain[static_cast<std::size_t>(i)]; };
  for (std::int32_t i = 0; i < size; ++i) {
    symbol(i) = {symbols[static_cast<std::size_t>(i)], i - 1, i + 1 < size ? i + 1 : -1};
  }
  const auto merge_at = [&](std::int32_t left) -> const Entry* {
    if (left < 0 || symbol(left).id < 0 || symbol(left).next < 0) return nullptr;
    return find(symbol(left).id, symbol(symbol(left).next).id);
  };
  std::vector<Candidate> first;
  for (std::int32_t i = 0; i + 1 < size; ++i) {
    if (const Entry* merge = merge_at(i)) first.push_back({merge->rank, merge->made, i});
  }
  std::priority_queue<Candidate, std::vector<Candidate>, std::greater<>> queue(std::greater<>(),
                                                                               std::move(first));
  const auto consider = [&](std::int32_t left) {
    if (const Entry* merge = merge_at(left)) queue.push({merge->rank, merge->made, left});
  };
  for (std::uint32_t turn = 1; !queue.empty(); ++turn) {
    if (turn % 4096 == 0 && ask) ask();
    const Candidate top = queue.top();
    queue.pop();
    // Its symbols may have changed since; what they make now must be what it stands for.
    const Entry* merge = merge_at(top.at);
    if (merge == nullptr || merge->made != top.id) continue;
    Symbol& left = symbol(top.at);
    Symbol& right = symbol(left.next);
    left.id = top.id;
    right.id = -1;
    left.next = right.next;
    if (left.next >= 0) symbol(left.next).previous = top.at;
    consider(left.previous);
    consider(top.at);
  }
  for (const Symbol& s : chain) {
    if (s.id >= 0) out.push_back(s.id);
  }
}

}  // namespace mnm
