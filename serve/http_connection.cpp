#include "serve/http_connection.h"

#include <algorithm>
#include <array>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/beast/http.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "base/stopwatch.h"
#include "serve/api_error.h"
#include "serve/growing_body.h"

namespace mnm {
namespace {

namespace net = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;

using Parser = http::request_parser<GrowingBody>;

auto into(beast::error_code& error) { return net::redirect_error(net::use_awaitable, error); }

// What a client is told whose body has no room beside the others.
HttpResponse bodies_full() {
  return Routes::error(
      {429, "", "bodies_full",
       "the bodies of the requests that are under way take all the memory that this "
       "server has for them: try again later"});
}

// The answer to a request that a proxy before this server may have read otherwise: as another
// host's, or as one that ends elsewhere (RFC 9112, 3.2 and 6.1). Nothing if it is read in one way.
std::optional<HttpResponse> ambiguous(const Parser& parser) {
  const auto& message = parser.get();
  const std::size_t hosts = message.count(http::field::host);
  const std::size_t encodings = message.count(http::field::transfer_encoding);
  if (hosts > 1) {
    return Routes::error({400, "", "several_hosts",
                          "the request names its Host more than once: send one header Host"});
  }
  if (hosts == 0 && message.version() >= 11) {
    return Routes::error({400, "", "no_host", "the request has no header Host: send one"});
  }
  if (encodings > 1 ||
      (encodings == 1 && !beast::iequals(message[http::field::transfer_encoding], "chunked"))) {
    return Routes::error({400, "", "transfer_encoding",
                          "the request has another Transfer-Encoding than 'chunked', which alone "
                          "is read"});
  }
  return std::nullopt;
}

// What a client is told whose request could not be read; nothing if it is gone or too slow.
std::optional<HttpResponse> unreadable(const beast::error_code& error) {
  if (error == http::error::header_limit || error == http::error::buffer_overflow) {
    return Routes::error({431, "", "", "the header is longer than this server reads"});
  }
  if (error == http::error::body_limit) {
    return Routes::error({413, "", "", "the body is longer than this server reads"});
  }
  const bool ours = error.category() == make_error_code(http::error::bad_method).category();
  if (!ours || error == http::error::end_of_stream || error == http::error::partial_message) {
    return std::nullopt;
  }
  return Routes::error({400, "", "", "the request is no HTTP/1.1"});
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

// Tells a client that waits for it to send the body.
net::awaitable<void> go_on(beast::tcp_stream& stream, const Parser& parser,
                           const HttpSettings& settings, beast::error_code& error) {
  if (!beast::iequals(parser.get()[http::field::expect], "100-continue")) co_return;
  http::response<http::empty_body> message(http::status::continue_, 11);
  stream.expires_after(settings.write);
  co_await http::async_write(stream, message, into(error));
}

// Reads the body. Its share grows with what has come: a client that sends nothing holds no memory.
// False: there is no room for what has come, and it is given up.
net::awaitable<bool> read_body(beast::tcp_stream& stream, beast::flat_buffer& buffer,
                               Parser& parser, ConnectionOwner& owner, BodyShare& share,
                               beast::error_code& error) {
  while (!error && !parser.is_done()) {
    co_await http::async_read_some(stream, buffer, parser, into(error));
    if (owner.make_room(share, parser.get().body().size())) continue;
    parser.get().body().clear();
    co_return false;
  }
  co_return true;
}

HttpRequest request_of(const Parser& parser) {
  const auto& message = parser.get();
  const auto text = [](beast::string_view view) { return std::string(view.data(), view.size()); };
  HttpRequest request;
  request.method = text(message.method_string());
  request.target = text(message.target());
  request.host = text(message[http::field::host]);
  // A request as to a proxy names the host in its target, which counts (RFC 9112, 3.2.2).
  constexpr std::string_view kScheme = "http://";
  if (beast::iequals(request.target.substr(0, kScheme.size()),
                     beast::string_view(kScheme.data(), kScheme.size()))) {
    const std::string rest = request.target.substr(kScheme.size());
    const std::size_t slash = std::min(rest.find('/'), rest.size());
    request.host = rest.substr(0, slash);
    request.target = slash < rest.size() ? rest.substr(slash) : "/";
  }
  request.content_type = text(message[http::field::content_type]);
  request.authorization = text(message[http::field::authorization]);
  return request;
}

}  // namespace

HttpConnection::HttpConnection(net::ip::tcp::socket socket, ConnectionOwner& owner,
                               const HttpSettings& settings, Routes& routes)
    : stream_(std::move(socket)), owner_(owner), settings_(settings), routes_(routes) {
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
// client last may never arrive. So what it sends is read first: a second long, and at most as much
// as a body has.
net::awaitable<void> HttpConnection::linger() {
  beast::error_code error;
  stream_.socket().shutdown(net::ip::tcp::socket::shutdown_send, error);
  stream_.expires_after(std::chrono::seconds(1));
  std::array<char, 4096> unread{};
  for (std::size_t read = 0; !error && read < settings_.body_bytes;) {
    const std::size_t got = co_await stream_.async_read_some(net::buffer(unread), into(error));
    read += got;
  }
}

// The answer to a request whose body is not wanted; nothing if it is.
std::optional<HttpResponse> HttpConnection::without_body(const HttpRequest& request) const {
  if (owner_.allows(request.host)) return routes_.without_body(request);
  return Routes::error(
      {403, "", "host_not_allowed",
       "this server does not answer to the Host that the request names: reach it as "
       "localhost or by its address, or start it with --allow-host NAME"});
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
  bool clear = false;  // where it ends, and whom it asks
  if (error) {
    early = unreadable(error);
    if (!early) co_return false;
  } else {
    request = request_of(parser);
    early = ambiguous(parser);
    clear = !early;
    if (!early) early = without_body(request);
  }
  const std::string_view route = error ? "unreadable" : routes_.route_of(request);
  // What is left of a body that nobody wants is not read: the connection ends instead.
  bool keep_alive = clear && parser.get().keep_alive() && !owner_.closing();
  const bool bodiless = !error && parser.is_done();
  BodyShare share(owner_.bodies());
  if (!early && !bodiless && !owner_.make_room(share, parser.content_length().value_or(0))) {
    early = bodies_full();
  }
  share.resize(0);  // it may fit: from here on it takes room as it comes
  if (!early) {
    co_await go_on(stream_, parser, settings_, error);
    stream_.expires_after(settings_.body);
    if (owner_.closing()) co_return false;
    const IdleMark idle(owner_, *this);
    const bool room = co_await read_body(stream_, buffer_, parser, owner_, share, error);
    if (!room) early = bodies_full();
    if (error && room) {
      early = unreadable(error);
      if (!early) co_return false;
    }
    keep_alive = keep_alive && !early;
  } else {
    keep_alive = keep_alive && bodiless;
  }
  request.body = std::move(parser.get().body());
  request.body.shrink_to_fit();  // as it grew it may have taken twice its size
  share.resize(request.body.size());
  Exchange exchange(stream_, owner_.handover(), std::move(request), settings_,
                    parser.get().version() == 10 ? 10 : 11, keep_alive);
  if (early) {
    co_await exchange.reply(*early);
  } else {
    co_await routes_.answer(exchange);
  }
  owner_.answered(route, exchange.status() == 0 ? 499 : exchange.status(), came.seconds());
  co_return exchange.keep_alive() && !exchange.broken();
}

}  // namespace mnm
