// Parts of this program that are opened when they are needed: the engines and MPI.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace mnm {

// Where parts are looked for, in this order: $MNM_ENGINE_DIR where it is set; the directory of this
// library or program; ../lib and ../lib/mixnmatch from there.
std::vector<std::filesystem::path> plugin_directories();

struct Plugin {
  std::filesystem::path path;
  void* entry = nullptr;  // the function that was asked for
};

// Opens `file` (such as "libmnm_engine_cpu.so") and finds the function `entry` in it. The file is
// never closed again. Error where it is not there (names the directories, and adds `advice`), where
// the loader refuses it, or where its function mnm_version says another version than this one's.
// global: its symbols are visible to what it opens itself.
Plugin open_plugin(const std::string& file, const std::string& entry, bool global,
                   const std::string& advice);

}  // namespace mnm

// What a plug-in defines once, so that open_plugin can tell whether it belongs to this version.
#define MNM_PLUGIN_VERSION \
  extern "C" const char* mnm_version() { return MNM_VERSION; }
