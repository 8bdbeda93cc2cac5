// Work on another thread, for which a coroutine on the thread of the network waits.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <exception>
#include <optional>
#include <type_traits>
#include <utility>

#include "serve/awaitable.h"
#include "serve/handover.h"

namespace mnm {

// What a coroutine waits for. All of it is on the thread of the network, `network`.
class Errand {
 public:
  explicit Errand(boost::asio::any_io_executor network);
  boost::asio::awaitable<void> wait();  // until it is done
  void done();

 private:
  bool done_ = false;
  boost::asio::steady_timer timer_;  // cancelled when it is done
};

// The result of `work`, which runs on `where` and may throw. `home` hands over to this thread. The
// caller waits until `work` has ended, whatever else happens: `work` may refer to what is the
// caller's.
template <typename Work>
boost::asio::awaitable<std::invoke_result_t<Work&>> run_elsewhere(
    boost::asio::any_io_executor where, Handover& home, Work work) {
  Errand errand(home.executor());
  std::optional<std::invoke_result_t<Work&>> result;
  std::exception_ptr error;  // instead of a result
  boost::asio::post(where, [&] {
    try {
      result.emplace(work());
    } catch (...) {
      error = std::current_exception();
    }
    home.post([&errand] { errand.done(); });  // from here on all of this may be gone
  });
  co_await errand.wait();
  if (error) std::rethrow_exception(error);
  co_return std::move(*result);
}

}  // namespace mnm
