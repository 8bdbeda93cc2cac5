// Bytes from one rank to another. A thin layer over MPI, and over a queue in tests.
#pragma once

#include <memory>
#include <optional>
#include <string>

namespace mnm {

// One thread uses it, the one that made it.
class Transport {
 public:
  virtual ~Transport() = default;

  virtual int rank() const = 0;
  virtual int size() const = 0;

  // Returns at once, in order per pair of ranks. What is sent to a rank that is gone is lost, and
  // nothing says so.
  virtual void send(int to, std::string bytes) = 0;

  struct Received {
    int from = 0;
    std::string bytes;
  };
  virtual std::optional<Received> receive() = 0;  // nothing where nothing has come yet

  // Parts from all others, who do the same. Never called where one of them is gone.
  virtual void finish() = 0;
};

// MPI's, from the library libmnm_mpi.so beside the program (or in ../lib), which is opened here.
// Error says what is missing: the library, where this build has none, or what the loader said.
std::unique_ptr<Transport> open_mpi_transport();

}  // namespace mnm
