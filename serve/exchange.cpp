#include "serve/exchange.h"

#include <sys/socket.h>

#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/http.hpp>

namespace mnm {
namespace {

namespace net = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;

constexpr const char* kServer = "mixnmatch";

auto into(beast::error_code& error) { return net::redirect_error(net::use_awaitable, error); }

// Whether the other side has closed: nothing is taken from what it has sent.
bool is_closed(net::ip::tcp::socket& socket) {
  char byte = 0;
  const ssize_t got = recv(socket.native_handle(), &byte, 1, MSG_PEEK | MSG_DONTWAIT);
  return got == 0 || (got < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR);
}

}  // namespace

Exchange::Exchange(beast::tcp_stream& stream, Handover& handover, HttpRequest request,
                   const HttpSettings& settings, unsigned version, bool keep_alive)
    : stream_(stream),
      handover_(handover),
      request_(std::move(request)),
      settings_(settings),
      version_(version),
      keep_alive_(keep_alive) {}

net::awaitable<void> Exchange::reply(const HttpResponse& response) {
  http::response<http::string_body> message(static_cast<http::status>(response.status), version_);
  message.set(http::field::server, kServer);
  message.set(http::field::content_type, response.content_type);
  for (const auto& [name, value] : response.headers) message.set(name, value);
  message.keep_alive(keep_alive_);
  message.body() = response.body;
  message.prepare_payload();
  if (request_.method == "HEAD") message.body().clear();
  status_ = response.status;
  stream_.expires_after(settings_.write);
  beast::error_code error;
  co_await http::async_write(stream_, message, into(error));
  broken_ = broken_ || error;
}

net::awaitable<void> Exchange::begin_events() {
  http::response<http::empty_body> message(http::status::ok, version_);
  message.set(http::field::server, kServer);
  message.set(http::field::content_type, "text/event-stream");
  message.set(http::field::cache_control, "no-store");
  if (version_ < 11) keep_alive_ = false;  // the end of the connection is the end of the answer
  message.keep_alive(keep_alive_);
  message.chunked(version_ >= 11);
  status_ = 200;
  http::response_serializer<http::empty_body> serializer(message);
  stream_.expires_after(settings_.write);
  beast::error_code error;
  co_await http::async_write_header(stream_, serializer, into(error));
  broken_ = broken_ || error;
}

net::awaitable<void> Exchange::send_events(std::string events) {
  if (broken_ || events.empty()) co_return;
  stream_.expires_after(settings_.write);
  beast::error_code error;
  if (version_ >= 11) {
    co_await net::async_write(stream_, http::make_chunk(net::buffer(events)), into(error));
  } else {
    co_await net::async_write(stream_, net::buffer(events), into(error));
  }
  broken_ = broken_ || error;
}

net::awaitable<void> Exchange::end_events() {
  if (broken_ || version_ < 11) co_return;
  stream_.expires_after(settings_.write);
  beast::error_code error;
  co_await net::async_write(stream_, http::make_chunk_last(), into(error));
  broken_ = broken_ || error;
}

void Exchange::watch(std::function<void()> gone) {
  gone_ = std::make_shared<std::function<void()>>(std::move(gone));
  auto& socket = stream_.socket();
  // The timer of an earlier read must not close the connection while its answer is computed.
  stream_.expires_never();
  socket.async_wait(net::ip::tcp::socket::wait_read,
                    [&socket, weak = std::weak_ptr(gone_)](const beast::error_code& error) {
                      const auto call = weak.lock();
                      if (!call || error == net::error::operation_aborted) return;
                      // A next request that came early: whether the client then goes is seen late.
                      if (error || is_closed(socket)) (*call)();
                    });
}

void Exchange::unwatch() {
  if (!gone_) return;
  gone_.reset();
  beast::error_code ignored;
  stream_.socket().cancel(ignored);
}

}  // namespace mnm
