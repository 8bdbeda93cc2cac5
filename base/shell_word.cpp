#include "base/shell_word.h"

#include <algorithm>
#include <cctype>
#include <cstring>
#include <system_error>

namespace mnm {

std::string shell_quoted(std::string_view word) {
  const auto plain = [](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) != 0 ||
           (c != '\0' && std::strchr("_-./:=,+@%", c) != nullptr);
  };
  if (!word.empty() && std::all_of(word.begin(), word.end(), plain)) return std::string(word);
  std::string quoted = "'";
  for (const char c : word) c == '\'' ? quoted.append("'\\''") : quoted.append(1, c);
  return quoted + "'";
}

std::string filter_command(std::string_view program, const std::filesystem::path& from,
                           std::string_view extension) {
  std::filesystem::path to = from;
  to.replace_extension(extension);
  std::error_code error;
  while (to == from || std::filesystem::exists(std::filesystem::symlink_status(to, error))) {
    to += ".new";
  }
  return std::string(program) + " < " + shell_quoted(from.string()) + " > " +
         shell_quoted(to.string());
}

}  // namespace mnm
