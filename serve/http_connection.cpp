#include "serve/http_connection.h"

#include <array>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/beast/http.hpp>
#include <optional>

#include "base/stopwatch.h"
#include "serve/api_error.h"

namespace mnm {
namespace {

namespace net = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;

using Parser = http::request_parser<http::string_body>;

auto into(beast::error_code& error) { return net::redirect_error(net::use_awaitable, error); }

// What a client is told whose request could not be read; nothing if it is gone or too slow.
std::optional<HttpResponse> unreadable(const beast::error_code& error) {
  if (error == http::error::header_limit || error == http::error::buffer_overflow) {
    return Api::error({431, "", "", "the header is longer than this server reads"});
  }
  if (error == http::error::body_limit) {
    return Api::error({413, "", "", "the body is longer than this server reads"});
  }
  const bool ours = error.category() == make_error_code(http::error::bad_method).category();
  if (!ours || error == http::error::end_of_stream || error == http::error::partial_message) {
    return std::nullopt;
  }
  return Api::error({400, "", "", "the request is no HTTP/1.1"});
}

// A connection is idle as long as this lives.
class IdleMark {
 public:
  IdleMark(ConnectionOwner& owner, HttpConnection& connection)
      : owner_(owner), number_(owner.became_idle(connection)) {}
  IdleMark(const IdleMark&) = delete;
  IdleMark& operator=(const IdleMark&) = delete;
  ~IdleMark() { owner_.became_busy(number_); }

 private:
  ConnectionOwner& owner_;
  std::uint64_t number_;
};

HttpRequest request_of(const Parser& parser) {
  const auto& message = parser.get();
  const auto text = [](beast::string_view view) { return std::string(view.data(), view.size()); };
  HttpRequest request;
  request.method = text(message.method_string());
  request.target = text(message.target());
  request.content_type = text(message[http::field::content_type]);
  request.authorization = text(message[http::field::authorization]);
  return request;
}

}  // namespace

HttpConnection::HttpConnection(net::ip::tcp::socket socket, ConnectionOwner& owner,
                               const HttpSettings& settings, Api& api)
    : stream_(std::move(socket)), owner_(owner), settings_(settings), api_(api) {
  // A token is a small packet: it does not wait for the next one.
  beast::error_code ignored;
  stream_.socket().set_option(net::ip::tcp::no_delay(true), ignored);
}

void HttpConnection::close() {
  beast::error_code ignored;
  stream_.socket().close(ignored);
}

net::awaitable<void> HttpConnection::run() {
  // g++ 12 miscompiles a condition that awaits.
  for (bool more = true; more && !owner_.closing();) more = co_await exchange();
  co_await linger();
}

// A connection that is closed while the client still sends is reset, and what was sent to the
// client last may never arrive. So a little more is read first.
net::awaitable<void> HttpConnection::linger() {
  constexpr std::size_t kMost = 1 << 20;
  beast::error_code error;
  stream_.socket().shutdown(net::ip::tcp::socket::shutdown_send, error);
  stream_.expires_after(std::chrono::seconds(1));
  std::array<char, 4096> unread{};
  for (std::size_t read = 0; !error && read < kMost;) {
    const std::size_t got = co_await stream_.async_read_some(net::buffer(unread), into(error));
    read += got;
  }
}

// Reads and answers one request. False: the connection ends.
net::awaitable<bool> HttpConnection::exchange() {
  Parser parser;
  parser.header_limit(settings_.header_bytes);
  parser.body_limit(settings_.body_bytes);
  beast::error_code error;
  {
    const IdleMark idle(owner_, *this);
    stream_.expires_after(settings_.idle);
    co_await http::async_read_header(stream_, buffer_, parser, into(error));
  }
  const Stopwatch came;
  HttpRequest request;
  std::optional<HttpResponse> early;
  if (error) {
    early = unreadable(error);
    if (!early) co_return false;
  } else {
    request = request_of(parser);
    early = api_.without_body(request);
  }
  const std::string_view route = error ? "unreadable" : api_.route_of(request);
  // What is left of a body that nobody wants is not read: the connection ends instead.
  bool keep_alive = !error && parser.get().keep_alive() && !owner_.closing();
  const bool bodiless = !error && parser.is_done();
  if (!early) {
    if (beast::iequals(parser.get()[http::field::expect], "100-continue")) {
      http::response<http::empty_body> go_on(http::status::continue_, 11);
      stream_.expires_after(settings_.write);
      co_await http::async_write(stream_, go_on, into(error));
    }
    stream_.expires_after(settings_.body);
    if (owner_.closing()) co_return false;
    if (!error) {
      const IdleMark idle(owner_, *this);
      co_await http::async_read(stream_, buffer_, parser, into(error));
    }
    if (error) {
      early = unreadable(error);
      keep_alive = false;
      if (!early) co_return false;
    }
  } else {
    keep_alive = keep_alive && bodiless;
  }
  request.body = std::move(parser.get().body());
  Exchange exchange(stream_, std::move(request), settings_, parser.get().version() == 10 ? 10 : 11,
                    keep_alive);
  if (early) {
    co_await exchange.reply(*early);
  } else {
    co_await api_.answer(exchange);
  }
  owner_.answered(route, exchange.status() == 0 ? 499 : exchange.status(), came.seconds());
  co_return exchange.keep_alive() && !exchange.broken();
}

}  // namespace mnm
