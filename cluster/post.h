// Sends and receives letters between ranks. A thread of its own does the sending, so heartbeats go
// on whatever the rest of the process does.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>

#include "cluster/transport.h"

namespace mnm {

struct Letter {
  enum class Kind : std::uint8_t {
    kTask,    // to a worker: a number and a body
    kResult,  // back: the same number and the result
    kFailed,  // back: the same number and one sentence
    kLost,    // back: as kFailed; and the rank's device is lost, so it can do no other task
    kStop,    // to a worker: stop working
    kBeat,    // a heartbeat, between rank 0 and each other rank: the share of its task that is done
  };
  Kind kind = Kind::kBeat;
  std::uint64_t number = 0;
  std::string body;
};

class Post {
 public:
  using Milliseconds = std::chrono::milliseconds;

  // `open` is called on the thread that serves the transport. What it throws is thrown here.
  explicit Post(const std::function<std::unique_ptr<Transport>()>& open,
                Milliseconds beat = Milliseconds(1000));
  Post(const Post&) = delete;
  Post& operator=(const Post&) = delete;
  // If leave() was called, waits up to five seconds for the others, and leaves together with them
  // (Transport::finish).
  ~Post();

  int rank() const { return rank_; }
  int size() const { return size_; }

  void send(int to, Letter letter);
  struct Received {
    int from = 0;
    Letter letter;
  };
  // The next letter that is no heartbeat. Nothing if none comes within `patience`. Throws what the
  // transport threw.
  std::optional<Received> wait(Milliseconds patience);

  // Seconds since anything was heard of a rank; and the share of its task that it reported as done.
  double silence(int rank) const;
  double share_of(int rank) const;
  void set_share(double share);  // of this rank's task; sent with every heartbeat
  bool stopped() const;          // whether a kStop has come
  bool all_leave() const;        // whether its number was not 0, which says that no rank was lost

  void leave();  // call it when all ranks are alive and leave too

 private:
  struct State;  // shared with the thread, which may outlive this
  std::shared_ptr<State> state_;
  int rank_ = 0, size_ = 1;
  std::thread thread_;
};

}  // namespace mnm
