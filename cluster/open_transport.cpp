#include <dlfcn.h>

#include <filesystem>

#include "cluster/transport.h"
#include "model/error.h"

namespace mnm {

std::unique_ptr<Transport> open_mpi_transport() {
  namespace fs = std::filesystem;
  const fs::path program = fs::read_symlink("/proc/self/exe").parent_path();
  for (const fs::path& directory : {program, program / "../lib", program / "../lib/mixnmatch"}) {
    const fs::path path = (directory / "libmnm_mpi.so").lexically_normal();
    if (!fs::exists(path)) continue;
    // Global: MPI's own plug-ins look for its symbols.
    void* const library = dlopen(path.c_str(), RTLD_NOW | RTLD_GLOBAL);
    if (library == nullptr) fail("cannot open {}: {}", path.string(), dlerror());
    auto* const make = reinterpret_cast<Transport* (*)()>(dlsym(library, "mnm_make_transport"));
    if (make == nullptr) fail("{} is no library of this program", path.string());
    return std::unique_ptr<Transport>(make());
  }
  fail(
      "started as one of several processes, but this build has no libmnm_mpi.so in {} or ../lib: "
      "install libopenmpi-dev and build again, or start it alone",
      program.string());
}

}  // namespace mnm
