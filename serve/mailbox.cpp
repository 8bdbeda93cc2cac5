#include "serve/mailbox.h"

#include <algorithm>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>

namespace mnm {
namespace {

namespace net = boost::asio;

// A client that lets so many updates wait reads too slowly to be served.
constexpr std::size_t kMostUpdates = 1 << 15;

}  // namespace

Mailbox::Mailbox(Handover& handover) : handover_(handover), bell_(handover.executor()) {}

void Mailbox::post(std::vector<Update> updates) {
  handover_.post([self = shared_from_this(), updates = std::move(updates)]() mutable {
    if (self->updates_.size() + updates.size() > kMostUpdates) self->closed_ = true;
    if (!self->closed_) std::ranges::move(updates, std::back_inserter(self->updates_));
    self->bell_.cancel();
  });
}

net::awaitable<Mailbox::News> Mailbox::wait(std::chrono::steady_clock::time_point deadline) {
  const auto self = shared_from_this();
  while (!closed_ && updates_.empty()) {
    boost::system::error_code error;
    bell_.expires_at(deadline);
    co_await bell_.async_wait(net::redirect_error(net::use_awaitable, error));
    if (!error) co_return News::kLate;
  }
  if (closed_) co_return News::kClosed;
  // Also where updates never cease to come.
  co_return std::chrono::steady_clock::now() < deadline ? News::kUpdates : News::kLate;
}

std::vector<Update> Mailbox::take() { return std::exchange(updates_, {}); }

void Mailbox::close() {
  closed_ = true;
  bell_.cancel();
}

}  // namespace mnm
