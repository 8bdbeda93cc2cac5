#include <cstdlib>
#include <map>
#include <mutex>

#include "base/error.h"
#include "base/plugin.h"
#include "engine/engine.h"

namespace mnm {
namespace {

// GNU's OpenMP, which LibTorch brings along, lets a thread that waits for another one spin for
// milliseconds. If other programs keep the processors busy, the thread that it waits for does not
// run meanwhile, so a command takes many times the processor time. Half a millisecond is as long as
// the pauses between the products of a generated token, and shorter than the time for which another
// program takes a processor away. The library reads the environment when it is loaded. What the
// user has set stays.
void spin_shortly() {
  if (std::getenv("OMP_WAIT_POLICY") == nullptr) setenv("GOMP_SPINCOUNT", "10000", 0);
}

// Never unloaded: LibTorch does not survive it.
Engine* load(const std::string& kind) {
  spin_shortly();
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
