#include "db/staircase.h"

#include <iterator>

namespace mnm {

std::optional<Staircase::Entry> Staircase::offer(std::int64_t cost, double objective,
                                                 std::int64_t record) {
  // Of those that cost at most as much the costliest scores best.
  const auto dearer = members_.upper_bound(cost);
  if (dearer != members_.begin()) {
    const auto& [at, rival] = *std::prev(dearer);
    if (rival.objective < objective) return std::nullopt;
    if (rival.objective == objective && (at < cost || rival.record <= record)) return std::nullopt;
  }
  Entry entry;
  const auto first = members_.lower_bound(cost);
  auto end = first;
  while (end != members_.end() && end->second.objective >= objective) ++end;
  if (first != end) entry.beaten.emplace(first->first, std::prev(end)->first);
  members_.erase(first, end);
  members_.emplace_hint(end, cost, Member{objective, record});
  return entry;
}

}  // namespace mnm
