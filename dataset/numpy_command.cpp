#include "dataset/numpy_command.h"

#include <fmt/format.h>

#include "base/shell_word.h"

namespace mnm {

std::string path_word(const std::filesystem::path& path) {
  const std::string name = path.string();
  return shell_quoted(name.starts_with('-') ? "./" + name : name);
}

std::string save_npy(std::string_view imports, std::string_view expression,
                     const std::filesystem::path& path) {
  const std::string program = fmt::format("import numpy, sys{}{}; numpy.save(\"tokens.npy\", {})",
                                          imports.empty() ? "" : ", ", imports, expression);
  return fmt::format("save it as one array: python3 -c {} {}", shell_quoted(program),
                     path_word(path));
}

std::string save_npy_of_numbers(const std::filesystem::path& path, std::string_view type,
                                std::string_view more) {
  return save_npy(
      "", fmt::format("numpy.fromfile(sys.argv[1], \"{}\"{}).astype(\"<i4\")", type, more), path);
}

}  // namespace mnm
