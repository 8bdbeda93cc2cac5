// Sends bytes from one rank to another: a thin layer over MPI, or over a queue in tests.
#pragma once

#include <memory>
#include <optional>
#include <string>

namespace mnm {

// It is used only by the thread that made it.
class Transport {
 public:
  virtual ~Transport() = default;

  virtual int rank() const = 0;
  virtual int size() const = 0;

  // Returns at once. Bytes between two ranks arrive in order. Bytes to a rank that is gone are lost
  // without notice.
  virtual void send(int to, std::string bytes) = 0;

  struct Received {
    int from = 0;
    std::string bytes;
  };
  virtual std::optional<Received> receive() = 0;  // returns at once; nothing if nothing has come

  // Leaves the job. All ranks call it, and each waits for the others. It is never called if one of
  // them is gone.
  virtual void finish() = 0;
};

// The transport over MPI, from the library libmnm_mpi.so beside the program (or in ../lib), which
// is opened here. Error says what is missing: the library, if this build has none, or what the
// loader said.
std::unique_ptr<Transport> open_mpi_transport();

}  // namespace mnm
