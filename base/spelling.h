// "Did you mean": the known name that a mistyped one is closest to.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>

namespace mnm {

// The number of insertions, deletions, replacements and swaps of neighbours that turn one text into
// the other (optimal string alignment). Upper and lower case count as equal.
std::size_t edit_distance(std::string_view a, std::string_view b);

// The first of `names` at the smallest distance from `name`, or one that `name` abbreviates. Empty
// if no name is near enough.
std::string nearest(std::string_view name, std::span<const std::string> names);
std::string nearest(std::string_view name, std::span<const std::string_view> names);

// ", did you mean 'NAME'?", or nothing: the end of a sentence about an unknown name.
std::string did_you_mean(std::string_view name, std::span<const std::string> names);
std::string did_you_mean(std::string_view name, std::span<const std::string_view> names);

}  // namespace mnm
