// Calls that other threads give to that of the network.
//
// Boost.Asio's own way, post(), wakes the thread of the network while it holds a lock that this
// thread takes next. A busy machine often runs the woken thread in place of the one that woke it.
// Then the network waits until that one, which computes for long, has a core again. Here the two
// share no lock.
#pragma once

#include <atomic>
#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <functional>

#include "serve/awaitable.h"

namespace mnm {

class Handover {
 public:
  // `network` outlives it. Error if there is no descriptor for it.
  explicit Handover(boost::asio::io_context& network);
  // No thread begins to post any more. Calls that were not made are dropped.
  ~Handover();
  Handover(const Handover&) = delete;
  Handover& operator=(const Handover&) = delete;

  // Any thread. `call` runs on the thread of the network, after what the same thread gave before.
  // If the handover is closed, it never runs. A call that throws ends the program.
  void post(std::function<void()> call);

  // All below: the thread of the network.

  boost::asio::any_io_executor executor() { return bell_.get_executor(); }
  boost::asio::awaitable<void> run();  // makes the calls, until it is closed
  void close();

 private:
  struct Call {
    std::function<void()> function;
    Call* earlier = nullptr;
  };
  void make_calls() noexcept;

  std::atomic<int> posting_ = 0;                // threads that are within post()
  std::atomic<Call*> newest_ = nullptr;         // those that wait; it owns them
  const int eventfd_;                           // rung for each call; bell_ owns it
  boost::asio::posix::stream_descriptor bell_;  // hears it
  bool closed_ = false;
};

}  // namespace mnm
