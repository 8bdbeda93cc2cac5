#include "base/spelling.h"

#include <fmt/format.h>

#include <algorithm>
#include <vector>

namespace mnm {
namespace {

// Not std::tolower: the answer must not depend on the locale.
char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

bool abbreviates(std::string_view name, std::string_view full) {
  return name.size() >= 2 && name.size() < full.size() &&
         std::equal(name.begin(), name.end(), full.begin(),
                    [](char a, char b) { return lower(a) == lower(b); });
}

template <typename Text>
std::string nearest_of(std::string_view name, std::span<const Text> names) {
  // Beyond a third of the letters a suggestion is more likely noise than help.
  std::size_t best = std::max<std::size_t>(1, name.size() / 3) + 1;
  std::string_view found;
  for (const std::string_view candidate : names) {
    // At least as far away as one is longer: what a client names may be long.
    const std::size_t a = name.size(), b = candidate.size();
    if ((a > b ? a - b : b - a) >= best) continue;
    const std::size_t distance = edit_distance(name, candidate);
    if (distance < best) {
      best = distance;
      found = candidate;
    }
  }
  if (!found.empty()) return std::string(found);
  const auto full =
      std::ranges::find_if(names, [&](const Text& text) { return abbreviates(name, text); });
  return full == names.end() ? std::string() : std::string(*full);
}

std::string question(const std::string& found) {
  return found.empty() ? std::string() : fmt::format(", did you mean '{}'?", found);
}

}  // namespace

std::size_t edit_distance(std::string_view a, std::string_view b) {
  // Rows of the usual table: two[j] and one[j] are rows i - 2 and i - 1.
  std::vector<std::size_t> two(b.size() + 1), one(b.size() + 1), row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) one[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t replace = one[j - 1] + (lower(a[i - 1]) == lower(b[j - 1]) ? 0 : 1);
      row[j] = std::min({replace, one[j] + 1, row[j - 1] + 1});
      if (i > 1 && j > 1 && lower(a[i - 1]) == lower(b[j - 2]) &&
          lower(a[i - 2]) == lower(b[j - 1])) {
        row[j] = std::min(row[j], two[j - 2] + 1);
      }
    }
    two.swap(one);
    one.swap(row);
  }
  return one[b.size()];
}

std::string nearest(std::string_view name, std::span<const std::string> names) {
  return nearest_of(name, names);
}

std::string nearest(std::string_view name, std::span<const std::string_view> names) {
  return nearest_of(name, names);
}

std::string did_you_mean(std::string_view name, std::span<const std::string> names) {
  return question(nearest(name, names));
}

std::string did_you_mean(std::string_view name, std::span<const std::string_view> names) {
  return question(nearest(name, names));
}

}  // namespace mnm
