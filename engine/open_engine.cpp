#include <dlfcn.h>

#include <filesystem>
#include <map>
#include <mutex>

#include "engine/engine.h"
#include "model/error.h"

namespace mnm {
namespace {

namespace fs = std::filesystem;

// Never unloaded: LibTorch does not survive it.
Engine* load(const std::string& kind) {
  const std::string file = "libmnm_engine_" + kind + ".so";
  const fs::path program = fs::read_symlink("/proc/self/exe").parent_path();
  std::string tried;
  for (const fs::path& directory : {program, program / "../lib", program / "../lib/mixnmatch"}) {
    const fs::path path = (directory / file).lexically_normal();
    if (!fs::exists(path)) {
      tried += fmt::format(" {} is not there;", path.string());
      continue;
    }
    void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (library == nullptr) {
      fail("cannot open the {} engine {}: {}", kind, path.string(), dlerror());
    }
    auto* make = reinterpret_cast<Engine* (*)()>(dlsym(library, "mnm_make_engine"));
    if (make == nullptr) fail("{} is no engine of this program", path.string());
    return make();
  }
  fail("cannot open the {} engine:{} {}", kind, tried,
       kind == "cuda" ? "this build has none (preset `cuda` makes one); use --device cpu"
                      : "build the target mnm_engine_cpu");
}

}  // namespace

Engine& open_engine(const std::string& device) {
  static std::mutex mutex;
  static std::map<std::string, Engine*> engines;
  const std::string kind = device.substr(0, device.find(':'));
  if (kind != "cpu" && kind != "cuda") {
    fail_usage("no device '{}': there are cpu, cuda and cuda:N", device);
  }
  const std::lock_guard lock(mutex);
  Engine*& engine = engines[kind];
  if (engine == nullptr) engine = load(kind);
  return *engine;
}

}  // namespace mnm
