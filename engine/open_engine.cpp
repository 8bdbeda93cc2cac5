#include <map>
#include <mutex>

#include "base/error.h"
#include "base/plugin.h"
#include "engine/engine.h"

namespace mnm {
namespace {

// Never unloaded: LibTorch does not survive it.
Engine* load(const std::string& kind) {
  const Plugin plugin = open_plugin(
      "libmnm_engine_" + kind + ".so", "mnm_make_engine", false,
      kind == "cuda" ? "this build has none (preset `cuda` makes one); use --device cpu"
                     : "build the target mnm_engine_cpu, or name its directory in MNM_ENGINE_DIR");
  return reinterpret_cast<Engine* (*)()>(plugin.entry)();
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
