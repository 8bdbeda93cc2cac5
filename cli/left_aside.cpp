#include "cli/left_aside.h"

#include <fmt/format.h>

#include <cstddef>
#include <iterator>
#include <map>

#include "cli/print.h"
#include "report/escape.h"

namespace mnm {
namespace {

constexpr std::ptrdiff_t kMostNames = 3;
constexpr std::size_t kLongestName = 100;  // bytes

// The first of them by name, name -> type.
std::map<std::string, std::string> named(const Checkpoint& checkpoint) {
  const auto& all = checkpoint.left_aside();
  return {all.begin(), std::ranges::next(all.begin(), kMostNames, all.end())};
}

}  // namespace

std::string left_aside_text(const Checkpoint& checkpoint) {
  const std::size_t count = checkpoint.left_aside().size();
  if (count == 0) return "";
  const std::map<std::string, std::string> first = named(checkpoint);
  std::string text =
      fmt::format("{} tensor{} of types that no weight has: ", count, count == 1 ? "" : "s");
  std::size_t said = 0;
  for (const auto& [name, type] : first) {
    const bool last = ++said == count;
    text += fmt::format("{}{} ({})",
                        said == 1 ? ""
                        : last    ? " and "
                                  : ", ",
                        shortened(printable(name), kLongestName), type);
  }
  if (said < count) text += fmt::format(" and {} more", count - said);
  return text;
}

nlohmann::ordered_json left_aside_json(const Checkpoint& checkpoint) {
  nlohmann::ordered_json types = nlohmann::ordered_json::object();
  for (const auto& [name, type] : named(checkpoint)) types[name] = type;
  return {{"tensors", checkpoint.left_aside().size()}, {"types", types}};
}

void note_left_aside(const Checkpoint& checkpoint) {
  const std::string text = left_aside_text(checkpoint);
  if (!text.empty()) note("left aside: {}\n", text);
}

}  // namespace mnm
