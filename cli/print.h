// What the program says: the only way to standard output and standard error (tests/structure holds
// the rooms to it). Names of files, of a store's rows and of a config's keys come from outside, so
// every text that is put into a sentence is made printable, ends of lines included: it can neither
// steer a terminal nor fake a line.
#pragma once

#include <fmt/format.h>

#include <concepts>
#include <cstdio>
#include <string>
#include <string_view>
#include <utility>

#include "report/printable.h"

namespace mnm {

// A text of several lines that is put together here, such as a table: ends of lines stay.
struct Lines {
  std::string text;
};

template <typename Value>
decltype(auto) as_printed(const Value& value) {
  if constexpr (std::same_as<Value, Lines>) {
    return printable(value.text, "\n");
  } else if constexpr (std::convertible_to<const Value&, std::string_view>) {
    return printable(value);
  } else {
    return (value);
  }
}

// As printable() makes it, but for the ASCII control characters in `kept`. On standard error it is
// never a reason to fail, even where that is closed or full.
void write_printable(std::FILE* to, std::string_view text, std::string_view kept);

// On standard output as it is, where that is no terminal: text that a model generated.
void write_raw(std::string_view text);

// On standard output: results.
template <typename... Values>
void print(fmt::format_string<Values...> format, Values&&... values) {
  write_printable(stdout, fmt::vformat(format, fmt::make_format_args(as_printed(values)...)), "\n");
}

// On standard error: progress, and what went wrong.
template <typename... Values>
void note(fmt::format_string<Values...> format, Values&&... values) {
  write_printable(stderr, fmt::vformat(format, fmt::make_format_args(as_printed(values)...)), "\n");
}

inline void note_line(const std::string& text) { note("{}\n", text); }

// Clears the line that the cursor of a terminal is in, and puts text in its place.
void redraw_line(std::string_view text);

}  // namespace mnm

// The text's own, so that a format is checked; what is printed is as_printed() of it.
template <>
struct fmt::formatter<mnm::Lines> : fmt::formatter<std::string_view> {
  template <typename Context>
  auto format(const mnm::Lines& lines, Context& context) const {
    return fmt::formatter<std::string_view>::format(lines.text, context);
  }
};
