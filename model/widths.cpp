#include "model/widths.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <functional>
#include <optional>

#include "base/error.h"

namespace mnm {
namespace {

std::string_view trim(std::string_view text) {
  while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
  while (!text.empty() && text.back() == ' ') text.remove_suffix(1);
  return text;
}

// A whole decimal number from 1 up, nothing else.
template <typename Number>
std::optional<Number> positive(std::string_view text) {
  Number value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value < 1) return std::nullopt;
  return value;
}

struct Run {
  Width width = kSkip;
  std::optional<std::size_t> count;  // nothing where the text names none
};

Run parse_run(std::string_view text, std::string_view whole) {
  const std::size_t cross = text.find('x');
  const std::string_view value = trim(text.substr(0, cross));
  Run run;
  if (value != "-") {
    const auto width = positive<Width>(value);
    if (!width) {
      fail_usage("widths '{}': '{}' is no width, expected a positive number or '-' (skip)", whole,
                 value);
    }
    run.width = *width;
  }
  if (cross == std::string_view::npos) return run;
  run.count = positive<std::size_t>(trim(text.substr(cross + 1)));
  if (!run.count) {
    fail_usage("widths '{}': '{}' is no count, expected a positive number after 'x'", whole,
               trim(text.substr(cross + 1)));
  }
  return run;
}

}  // namespace

std::string to_string(const Widths& widths) {
  std::string text;
  for (std::size_t i = 0; i < widths.size();) {
    std::size_t end = i + 1;
    while (end < widths.size() && widths[end] == widths[i]) ++end;
    if (!text.empty()) text += ',';
    if (widths[i] == kSkip) {
      text += '-';
    } else {
      fmt::format_to(std::back_inserter(text), "{}", widths[i]);
    }
    if (end - i > 1) fmt::format_to(std::back_inserter(text), "x{}", end - i);
    i = end;
  }
  return text;
}

Widths parse_widths(std::string_view text, std::size_t layers) {
  const std::string_view whole = trim(text);
  Widths widths;
  for (std::string_view rest = whole;;) {
    const std::size_t comma = rest.find(',');
    const Run run = parse_run(rest.substr(0, comma), whole);
    const bool alone = comma == std::string_view::npos && widths.empty();
    const std::size_t count = run.count.value_or(alone ? layers : 1);
    if (count > layers - widths.size()) {
      fail_usage("widths '{}' name more than the model's {} layers", whole, layers);
    }
    widths.insert(widths.end(), count, run.width);
    if (comma == std::string_view::npos) break;
    rest.remove_prefix(comma + 1);
  }
  if (widths.size() != layers) {
    fail_usage("widths '{}' name {} layers, the model has {}", whole, widths.size(), layers);
  }
  return widths;
}

bool is_uniform(const Widths& widths) {
  return std::ranges::adjacent_find(widths, std::not_equal_to<>()) == widths.end();
}

Widths kept_widths(const Widths& widths) {
  Widths kept = widths;
  std::erase(kept, kSkip);
  return kept;
}

}  // namespace mnm
