// Everything that the program prints. This is the only way to standard output and standard error
// (tests/structure checks it). Names of files, of rows of a store and of keys of a config come from
// outside. So every text that is put into a sentence is made printable, line ends included. It can
// neither steer a terminal nor fake a line.
#pragma once

#include <fmt/format.h>

#include <concepts>
#include <cstdio>
#include <string>
#include <string_view>
#include <utility>

#include "report/escape.h"

namespace mnm {

// A text of several lines that our own code made, such as a table. Its line ends stay.
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

// Writes the text as printable() makes it, except for the ASCII control characters in `kept`. A
// closed or full standard error is not a failure.
void write_printable(std::FILE* to, std::string_view text, std::string_view kept);

// Writes text that a model generated to standard output. If that is not a terminal, the text is not
// altered.
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

// Replaces the line of the terminal that the cursor is in.
void redraw_line(std::string_view text);

}  // namespace mnm

// A formatter, so that format strings are checked at compile time. What is printed is as_printed().
template <>
struct fmt::formatter<mnm::Lines> : fmt::formatter<std::string_view> {
  template <typename Context>
  auto format(const mnm::Lines& lines, Context& context) const {
    return fmt::formatter<std::string_view>::format(lines.text, context);
  }
};
