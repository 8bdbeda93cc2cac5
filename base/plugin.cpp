#include "base/plugin.h"

#include <dlfcn.h>

#include <cstdlib>

#include "base/error.h"
#include "base/version.h"

namespace mnm {
namespace {

namespace fs = std::filesystem;

// The directory of the file that holds this code: a program, or a library that others link.
fs::path own_directory() {
  static const int here = 0;
  Dl_info info{};
  std::error_code error;
  if (dladdr(&here, &info) != 0 && info.dli_fname != nullptr) {
    // Of a program it is what the shell was given, which need not be a path.
    const fs::path file = fs::canonical(info.dli_fname, error);
    if (!error && file.has_filename() && fs::path(info.dli_fname).has_parent_path()) {
      return file.parent_path();
    }
  }
  return fs::read_symlink("/proc/self/exe").parent_path();
}

}  // namespace

std::vector<fs::path> plugin_directories() {
  std::vector<fs::path> directories;
  if (const char* named = std::getenv("MNM_ENGINE_DIR"); named != nullptr && *named != '\0') {
    directories.emplace_back(named);
  }
  const fs::path own = own_directory();
  for (const fs::path& directory : {own, own / "../lib", own / "../lib/mixnmatch"}) {
    directories.push_back(directory.lexically_normal());
  }
  return directories;
}

Plugin open_plugin(const std::string& file, const std::string& entry, bool global,
                   const std::string& advice) {
  std::string tried;
  for (const fs::path& directory : plugin_directories()) {
    const fs::path path = directory / file;
    if (!fs::exists(path)) {
      tried += fmt::format(" {} is not there;", path.string());
      continue;
    }
    void* const library = dlopen(path.c_str(), RTLD_NOW | (global ? RTLD_GLOBAL : RTLD_LOCAL));
    if (library == nullptr) fail("cannot open {}: {}", path.string(), dlerror());
    const auto version_of = reinterpret_cast<const char* (*)()>(dlsym(library, "mnm_version"));
    const std::string theirs = version_of == nullptr ? "an unknown version" : version_of();
    if (theirs != version()) {
      fail("{} belongs to {} of mixnmatch, and this is {}: install both from one build",
           path.string(), theirs, version());
    }
    void* const found = dlsym(library, entry.c_str());
    if (found == nullptr) fail("{} is no part of this program: it has no {}", path.string(), entry);
    return {path, found};
  }
  fail("cannot open {}:{} {}", file, tried, advice);
}

}  // namespace mnm
