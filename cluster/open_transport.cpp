#include "base/plugin.h"
#include "cluster/transport.h"

namespace mnm {

std::unique_ptr<Transport> open_mpi_transport() {
  // Global: MPI's own plug-ins look for its symbols.
  const Plugin plugin = open_plugin(
      "libmnm_mpi.so", "mnm_make_transport", true,
      "this was started as one of several processes, but this build has no MPI: install "
      "libopenmpi-dev and build again, or start it alone");
  return std::unique_ptr<Transport>(reinterpret_cast<Transport* (*)()>(plugin.entry)());
}

}  // namespace mnm
