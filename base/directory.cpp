#include "base/directory.h"

#include <algorithm>
#include <system_error>

#include "base/error.h"

namespace mnm {

namespace fs = std::filesystem;

std::vector<fs::directory_entry> list_directory(const fs::path& directory) {
  std::vector<fs::directory_entry> entries;
  std::error_code error;
  for (fs::directory_iterator it(directory, error), end; !error && it != end; it.increment(error)) {
    entries.push_back(*it);
  }
  if (error) fail("cannot list '{}': {}", directory.string(), error.message());
  std::ranges::sort(entries);
  return entries;
}

}  // namespace mnm
