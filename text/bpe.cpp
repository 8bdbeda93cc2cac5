#include "text/bpe.h"

#include <algorithm>
#include <bit>
#include <queue>
#include <random>

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

namespace {

// Pairs of neighbours that wait for their merge: by its rank, and from the left. Most of a long
// text's are there from the start. These are sorted once, which takes a fraction of the time that a
// heap of them takes.
class WaitingPairs {
 public:
  struct Pair {
    std::int32_t rank, at;  // of the merge; the left symbol
  };

  void add_first(std::int32_t rank, std::int32_t at) { first_.push_back(key(rank, at)); }
  void sort() { std::ranges::sort(first_); }
  void add(std::int32_t rank, std::int32_t at) { later_.push(key(rank, at)); }

  bool empty() const { return next_ == first_.size() && later_.empty(); }
  Pair take() {
    const bool of_later =
        next_ == first_.size() || (!later_.empty() && later_.top() < first_[next_]);
    const std::uint64_t taken = of_later ? later_.top() : first_[next_++];
    if (of_later) later_.pop();
    return {static_cast<std::int32_t>(taken >> 32), static_cast<std::int32_t>(taken & 0xffffffff)};
  }

 private:
  static std::uint64_t key(std::int32_t rank, std::int32_t at) {  // neither is negative
    return static_cast<std::uint64_t>(rank) << 32 | static_cast<std::uint32_t>(at);
  }

  std::vector<std::uint64_t> first_;  // ascending
  std::size_t next_ = 0;              // of first_
  std::priority_queue<std::uint64_t, std::vector<std::uint64_t>, std::greater<>> later_;
};

}  // namespace

void BytePairMerges::apply(const std::vector<std::int32_t>& symbols, std::vector<std::int64_t>& out,
                           const std::function<void()>& ask) const {
  struct Symbol {
    std::int32_t id;                   // -1: swallowed by the one before
    std::int32_t previous, next;       // -1: none
    std::int32_t rank = -1, made = 0;  // of the merge with the next one; rank -1: none
  };
  const auto size = static_cast<std::int32_t>(symbols.size());
  std::vector<Symbol> chain(symbols.size());
  const auto symbol = [&](std::int32_t i) -> Symbol& { return chain[static_cast<std::size_t>(i)]; };
  for (std::int32_t i = 0; i < size; ++i) {
    symbol(i) = {symbols[static_cast<std::size_t>(i)], i - 1, i + 1 < size ? i + 1 : -1};
  }
  // Looks up the merge of a symbol with the next one. The table is larger than a cache, so this is
  // done once for each pair, and not again when its turn has come.
  const auto look_up = [&](Symbol& left) {
    const Entry* const merge = left.next < 0 ? nullptr : find(left.id, symbol(left.next).id);
    left.rank = merge == nullptr ? -1 : merge->rank;
    left.made = merge == nullptr ? 0 : merge->made;
    return left.rank >= 0;
  };
  WaitingPairs waiting;
  for (std::int32_t i = 0; i < size; ++i) {
    if (look_up(symbol(i))) waiting.add_first(symbol(i).rank, i);
  }
  waiting.sort();
  const auto consider = [&](std::int32_t left) {
    if (left >= 0 && look_up(symbol(left))) waiting.add(symbol(left).rank, left);
  };
  for (std::uint32_t turn = 1; !waiting.empty(); ++turn) {
    if (turn % 4096 == 0 && ask) ask();
    const WaitingPairs::Pair pair = waiting.take();
    Symbol& left = symbol(pair.at);
    if (left.rank != pair.rank) continue;  // its symbols have changed since
    Symbol& right = symbol(left.next);
    left.id = left.made;
    right.id = right.rank = -1;
    left.next = right.next;
    if (left.next >= 0) symbol(left.next).previous = pair.at;
    consider(left.previous);
    consider(pair.at);
  }
  for (const Symbol& s : chain) {
    if (s.id >= 0) out.push_back(s.id);
  }
}

}  // namespace mnm
