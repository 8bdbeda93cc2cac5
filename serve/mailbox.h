// Updates of one request on their way from the thread that computes to that of the network.
#pragma once

#include <boost/asio/steady_timer.hpp>
#include <memory>
#include <vector>

#include "serve/awaitable.h"
#include "serve/handover.h"
#include "serve/service.h"

namespace mnm {

class Mailbox : public std::enable_shared_from_this<Mailbox> {
 public:
  // `handover`, to the thread of the network, outlives it.
  explicit Mailbox(Handover& handover);

  void post(std::vector<Update> updates);  // any thread

  // All below: the thread of the network.

  enum class News : std::uint8_t { kUpdates, kClosed, kLate };
  // Waits until there are updates, the mailbox is closed, or `deadline` is over.
  boost::asio::awaitable<News> wait(std::chrono::steady_clock::time_point deadline);
  std::vector<Update> take();
  void close();  // the client went away

 private:
  Handover& handover_;
  boost::asio::steady_timer bell_;  // cancelled when there is news
  std::vector<Update> updates_;
  bool closed_ = false;
};

}  // namespace mnm
