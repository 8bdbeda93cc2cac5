#include "base/quantity.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <iterator>
#include <limits>

#include "base/error.h"

namespace mnm {

std::int64_t parse_quantity(std::string_view text) {
  struct Unit {
    std::string_view name;
    double factor;
  };
  static constexpr Unit kUnits[] = {
      {"", 1},       {"k", 1e3},       {"kb", 1e3},      {"m", 1e6},      {"mb", 1e6},
      {"g", 1e9},    {"gb", 1e9},      {"b", 1e9},       {"t", 1e12},     {"tb", 1e12},
      {"kib", 1024}, {"mib", 1 << 20}, {"gib", 1 << 30}, {"tib", 0x1p40},
  };
  const auto bad = [&](std::string_view why) {
    fail_usage("'{}' is no quantity, {}: expected a number such as 1200000, 1.2M, 40B or 1.5GiB",
               text, why);
  };
  const char* const end = text.data() + text.size();
  // from_chars would also take "inf" and "nan".
  if (text.empty() || !((text[0] >= '0' && text[0] <= '9') || text[0] == '.')) {
    bad("it does not start with a digit");
  }
  std::int64_t whole = 0;
  if (const auto r = std::from_chars(text.data(), end, whole);
      r.ec == std::errc() && r.ptr == end) {
    return whole;  // exact, also past 2^53
  }
  double number = 0;
  const auto [rest, error] = std::from_chars(text.data(), end, number);
  if (error == std::errc::result_out_of_range) bad("it is out of range");
  if (error != std::errc()) bad("its number cannot be read");
  std::string unit(rest, end);
  if (!unit.empty() && unit[0] == ' ') unit.erase(0, 1);
  for (char& c : unit) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  const auto found = std::ranges::find(kUnits, unit, &Unit::name);
  if (found == std::end(kUnits)) bad("its unit is unknown");
  const double value = number * found->factor;
  if (!(value < 0x1p63)) bad("it is too large");
  const double rounded = std::round(value);
  // 1.2 is not exactly 1.2: what the product's own rounding explains is a whole number.
  if (std::abs(value - rounded) > 4e-16 * value) bad("it is not a whole number");
  return static_cast<std::int64_t>(rounded);
}

std::string quantity(double value) {
  const double size = std::abs(value);
  // From 999.5 of a unit on, three digits round to 1000 of it, which is 1 of the next.
  if (!(size >= 999.5)) return fmt::format("{:.3g}", value);
  double unit = 1e3;
  for (const char name : {'K', 'M', 'G', 'T'}) {
    if (size < 999.5 * unit) return fmt::format("{:.3g}{}", value / unit, name);
    unit *= 1e3;
  }
  return fmt::format("{:.3g}", value);
}

double parse_duration(std::string_view text) {
  double total = 0;
  std::size_t at = 0;
  bool any = false;
  double last_unit = std::numeric_limits<double>::infinity();
  while (at < text.size()) {
    std::size_t end = at;
    while (end < text.size() &&
           (std::isdigit(static_cast<unsigned char>(text[end])) != 0 || text[end] == '.')) {
      ++end;
    }
    double value = 0;
    const auto [stop, error] = std::from_chars(text.data() + at, text.data() + end, value);
    double unit = 0;
    std::size_t letters = 1;
    if (end == text.size()) {
      unit = any ? 0 : 1;  // a bare number is seconds; a trailing one after units is an error
    } else if (text.substr(end).starts_with("ms")) {
      unit = 1e-3;
      letters = 2;
    } else {
      switch (text[end]) {
        case 's':
          unit = 1;
          break;
        case 'm':
          unit = 60;
          break;
        case 'h':
          unit = 3600;
          break;
        case 'd':
          unit = 86400;
          break;
        default:
          break;
      }
    }
    if (error != std::errc{} || stop != text.data() + end || unit == 0 || unit >= last_unit) {
      any = false;
      break;
    }
    total += value * unit;
    last_unit = unit;
    any = true;
    at = end + letters;
  }
  if (!any) fail_usage("'{}' is not a time such as 90s, 10m or 1h30m", text);
  return total;
}

std::string duration_text(double seconds) {
  if (!std::isfinite(seconds)) return "?";
  if (seconds < 0.95) return fmt::format("{:.0f}ms", seconds * 1000);
  if (seconds < 9.95) return fmt::format("{:.1f}s", seconds);
  const auto whole = static_cast<std::int64_t>(std::llround(seconds));
  if (whole < 60) return fmt::format("{}s", whole);
  if (whole < 3600) return fmt::format("{}m{:02}s", whole / 60, whole % 60);
  return fmt::format("{}h{:02}m", whole / 3600, whole % 3600 / 60);
}

}  // namespace mnm
