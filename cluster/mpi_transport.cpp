// Compiled into libmnm_mpi.so alone.
#include <mpi.h>

#include <limits>
#include <list>

#include "base/error.h"
#include "base/plugin.h"
#include "cluster/transport.h"

namespace mnm {
namespace {

constexpr int kTag = 1;

void check(int result, const char* what) {
  if (result == MPI_SUCCESS) return;
  char text[MPI_MAX_ERROR_STRING] = "";
  int length = 0;
  MPI_Error_string(result, text, &length);
  fail("MPI cannot {}: {}", what, std::string(text, static_cast<std::size_t>(length)));
}

class MpiTransport final : public Transport {
 public:
  MpiTransport() {
    int provided = 0;
    check(MPI_Init_thread(nullptr, nullptr, MPI_THREAD_FUNNELED, &provided), "start");
    MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
    check(MPI_Comm_rank(MPI_COMM_WORLD, &rank_), "tell this process' rank");
    check(MPI_Comm_size(MPI_COMM_WORLD, &size_), "tell the number of processes");
  }

  int rank() const override { return rank_; }
  int size() const override { return size_; }

  void send(int to, std::string bytes) override {
    if (bytes.size() > static_cast<std::size_t>(std::numeric_limits<int>::max())) {
      fail("cannot send {} bytes to rank {}: a message holds less than 2^31; use smaller batches",
           bytes.size(), to);
    }
    Sent& sent = sent_.emplace_back();
    sent.bytes = std::move(bytes);
    // A rank that is gone is noticed by its silence.
    if (MPI_Isend(sent.bytes.data(), static_cast<int>(sent.bytes.size()), MPI_BYTE, to, kTag,
                  MPI_COMM_WORLD, &sent.request) != MPI_SUCCESS) {
      sent_.pop_back();
    }
  }

  std::optional<Received> receive() override {
    sent_.remove_if([](Sent& sent) {
      int done = 0;
      return MPI_Test(&sent.request, &done, MPI_STATUS_IGNORE) != MPI_SUCCESS || done != 0;
    });
    int there = 0;
    MPI_Message message;
    MPI_Status status;
    // It fails where a connection broke: whose it was is noticed by silence.
    if (MPI_Improbe(MPI_ANY_SOURCE, kTag, MPI_COMM_WORLD, &there, &message, &status) !=
            MPI_SUCCESS ||
        there == 0) {
      return std::nullopt;
    }
    int count = 0;
    check(MPI_Get_count(&status, MPI_BYTE, &count), "receive");
    Received received{status.MPI_SOURCE, std::string(static_cast<std::size_t>(count), '\0')};
    check(MPI_Mrecv(received.bytes.data(), count, MPI_BYTE, &message, MPI_STATUS_IGNORE),
          "receive");
    return received;
  }

  void finish() override { MPI_Finalize(); }

 private:
  struct Sent {
    std::string bytes;
    MPI_Request request = MPI_REQUEST_NULL;
  };
  int rank_ = 0, size_ = 1;
  std::list<Sent> sent_;  // not moved while MPI reads it
};

}  // namespace
}  // namespace mnm

MNM_PLUGIN_VERSION

extern "C" mnm::Transport* mnm_make_transport() { return new mnm::MpiTransport; }
