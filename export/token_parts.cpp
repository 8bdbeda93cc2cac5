#include "export/token_parts.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

namespace mnm {
namespace {

struct Named {
  std::string text;
  std::int32_t id;
};

constexpr std::size_t kNone = static_cast<std::size_t>(-1);

// For each of the sorted texts the place of the longest other one that it begins with, or kNone.
// Those that one text begins with are the ones that are open when its turn comes.
std::vector<std::size_t> longest_starts(const std::vector<Named>& sorted) {
  std::vector<std::size_t> longest(sorted.size(), kNone), open;
  for (std::size_t i = 0; i < sorted.size(); ++i) {
    while (!open.empty() && !sorted[i].text.starts_with(sorted[open.back()].text)) open.pop_back();
    if (!open.empty()) longest[i] = open.back();
    open.push_back(i);
  }
  return longest;
}

}  // namespace

void for_each_split(const TokenIds& ids, const std::function<void(const TokenSplit&)>& take) {
  std::vector<Named> forward, backward;
  std::int32_t last = -1;
  for (const auto& [text, id] : ids) {
    if (text.empty()) continue;
    forward.push_back({text, id});
    backward.push_back({{text.rbegin(), text.rend()}, id});
    last = std::max(last, id);
  }
  std::ranges::sort(forward, {}, &Named::text);
  std::ranges::sort(backward, {}, &Named::text);
  const std::vector<std::size_t> starts = longest_starts(forward), ends = longest_starts(backward);
  std::vector<std::size_t> place(static_cast<std::size_t>(last + 1));  // of an id in `backward`
  for (std::size_t i = 0; i < backward.size(); ++i) {
    place[static_cast<std::size_t>(backward[i].id)] = i;
  }
  std::vector<std::size_t> begins;  // where a token begins that the whole ends with, ascending
  for (std::size_t i = 0; i < forward.size(); ++i) {
    const auto& [text, id] = forward[i];
    begins.clear();
    for (std::size_t j = ends[place[static_cast<std::size_t>(id)]]; j != kNone; j = ends[j]) {
      begins.push_back(text.size() - backward[j].text.size());
    }
    for (std::size_t j = starts[i]; j != kNone; j = starts[j]) {
      const std::size_t at = forward[j].text.size();
      while (!begins.empty() && begins.back() > at) begins.pop_back();
      if (!begins.empty() && begins.back() == at) take({id, at});
    }
  }
}

}  // namespace mnm
