#include "serve/handover.h"

#include <sys/eventfd.h>

#include <boost/asio/buffer.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <cerrno>
#include <cstdint>
#include <memory>
#include <system_error>
#include <thread>
#include <utility>

#include "base/error.h"

namespace mnm {
namespace {

namespace net = boost::asio;

int new_eventfd() {
  const int descriptor = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (descriptor >= 0) return descriptor;
  fail("cannot make an event descriptor: {}", std::generic_category().message(errno));
}

}  // namespace

Handover::Handover(net::io_context& network) : eventfd_(new_eventfd()), bell_(network, eventfd_) {}

Handover::~Handover() {
  // A thread's last call may have been made before that thread has rung for it.
  while (posting_ > 0) std::this_thread::yield();
  for (Call* call = newest_.exchange(nullptr, std::memory_order_acquire); call != nullptr;) {
    const std::unique_ptr<Call> owned(call);
    call = owned->earlier;
  }
}

// A stack that any thread pushes to, and of which the network's takes all.
//
// No call is lost: each is pushed before its own ring, and after every ring that is heard comes a
// take. The kernel locks the counter to ring and to hear, so the push is seen by that take.
//
// No call is seen half: all that changes newest_ reads it and writes it in one. So a take with
// acquire meets the release of every push that it gets, however many came after that one.
//
// No call is read after its end: a push compares addresses, and follows none. One that was freed
// and is used anew is that of the newest call all the same.
void Handover::post(std::function<void()> call) {
  auto added = std::make_unique<Call>(Call{std::move(call), nullptr});
  ++posting_;
  Call* before = newest_.load(std::memory_order_relaxed);
  do {
    added->earlier = before;
  } while (!newest_.compare_exchange_weak(before, added.get(), std::memory_order_release,
                                          std::memory_order_relaxed));
  static_cast<void>(added.release());
  ::eventfd_write(eventfd_, 1);  // never full: it counts to nearly 2^64
  --posting_;                    // the last that this thread does with the handover
}

net::awaitable<void> Handover::run() {
  while (!closed_) {
    std::uint64_t rings = 0;
    boost::system::error_code error;
    co_await bell_.async_read_some(net::buffer(&rings, sizeof rings),
                                   net::redirect_error(net::use_awaitable, error));
    if (error) co_return;  // closed: nothing else ends the read of an event descriptor
    make_calls();
  }
}

void Handover::close() {
  closed_ = true;
  boost::system::error_code ignored;
  bell_.cancel(ignored);  // it stays open: others may ring it yet
}

void Handover::make_calls() noexcept {
  Call* newest = newest_.exchange(nullptr, std::memory_order_acquire);
  Call* oldest = nullptr;
  while (newest != nullptr) {
    Call* const earlier = std::exchange(newest->earlier, oldest);
    oldest = std::exchange(newest, earlier);
  }
  while (oldest != nullptr) {
    const std::unique_ptr<Call> call(oldest);
    oldest = call->earlier;  // here, the next later one
    call->function();
  }
}

}  // namespace mnm
