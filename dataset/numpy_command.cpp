#include "dataset/numpy_command.h"

#include <fmt/format.h>

#include "model/shell_word.h"

namespace mnm {

std::string save_npy(std::string_view imports, std::string_view expression) {
  return fmt::format(
      "save it as one array: python3 -c {}",
      shell_quoted(fmt::format("import {}; numpy.save(\"tokens.npy\", {})", imports, expression)));
}

std::string save_npy_of_numbers(const std::filesystem::path& path, std::string_view type,
                                std::string_view more) {
  return save_npy("numpy", fmt::format("numpy.fromfile(r\"{}\", \"{}\"{}).astype(\"<i4\")",
                                       path.string(), type, more));
}

}  // namespace mnm
