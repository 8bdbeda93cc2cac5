#include "serve/elsewhere.h"

#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>

namespace mnm {

namespace net = boost::asio;

Errand::Errand(net::any_io_executor network) : timer_(std::move(network)) {
  timer_.expires_at(net::steady_timer::time_point::max());
}

net::awaitable<void> Errand::wait() {
  boost::system::error_code ignored;
  while (!done_) co_await timer_.async_wait(net::redirect_error(net::use_awaitable, ignored));
}

void Errand::done() {
  done_ = true;
  timer_.cancel();
}

}  // namespace mnm
