// What is said on standard error: never a reason to fail, even where that is closed or full.
#pragma once

#include <fmt/format.h>

#include <cstdio>
#include <string>
#include <utility>

namespace mnm {

template <typename... Values>
void note(fmt::format_string<Values...> format, Values&&... values) {
  const std::string text = fmt::format(format, std::forward<Values>(values)...);
  std::fputs(text.c_str(), stderr);
}

inline void note_line(const std::string& text) { note("{}\n", text); }

}  // namespace mnm
