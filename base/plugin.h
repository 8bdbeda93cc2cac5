// Shared libraries of this program that are opened only when they are needed: the engines and MPI.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace mnm {

// Where these libraries are looked for, in this order: $MNM_ENGINE_DIR if it is set; the directory
// of this library or program; ../lib and ../lib/mixnmatch from there.
std::vector<std::filesystem::path> plugin_directories();

struct Plugin {
  std::filesystem::path path;
  void* entry = nullptr;  // the function that was asked for
};

// Opens `file` (such as "libmnm_engine_cpu.so") and finds the function `entry` in it. The file is
// never closed again. `global`: its symbols are visible to the libraries that it opens. Error if
// the file is not there (the message names the directories and adds `advice`), if the loader
// refuses it, or if its function mnm_version returns another version than this one's.
Plugin open_plugin(const std::string& file, const std::string& entry, bool global,
                   const std::string& advice);

}  // namespace mnm

// Every plug-in uses this macro once, so that open_plugin can tell whether it belongs to this
// version.
#define MNM_PLUGIN_VERSION \
  extern "C" const char* mnm_version() { return MNM_VERSION; }
