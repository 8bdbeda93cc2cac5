#include "serve/http_client.h"

#include <algorithm>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <charconv>
#include <optional>
#include <utility>

namespace mnm {
namespace {

namespace net = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
using net::ip::tcp;
using Clock = std::chrono::steady_clock;

constexpr std::uint64_t kLongestAnswer = 8 << 20;

struct Place {
  std::string host, port, header;  // "[::1]:8080" is "::1", "8080" and itself
};

Place place_of(const std::string& url) {
  constexpr std::string_view kScheme = "http://";
  const auto wrong = [&](const char* why) {
    fail_usage("'{}' is no address of a server such as http://127.0.0.1:8080: {}", url, why);
  };
  if (url.starts_with("https://")) wrong("there is no TLS here, put a proxy before it");
  if (!url.starts_with(kScheme)) wrong("it does not begin with http://");
  std::string rest = url.substr(kScheme.size());
  if (rest.ends_with('/')) rest.pop_back();
  if (rest.find_first_of("/?#@ \t\r\n") != std::string::npos) wrong("it goes on after the port");
  Place place{rest, "80", rest};
  const bool v6 = rest.starts_with('[');
  const std::size_t end = v6 ? rest.find(']') : rest.find(':');
  if (v6 && end == std::string::npos) wrong("a ] is missing");
  place.host = v6 ? rest.substr(1, end - 1) : rest.substr(0, end);
  const std::size_t colon = v6 ? end + 1 : end;
  if (colon < rest.size()) {
    place.port = rest.substr(colon + 1);
    std::uint16_t port = 0;
    const char* const last = place.port.data() + place.port.size();
    const auto [at, error] = std::from_chars(place.port.data(), last, port);
    if (rest[colon] != ':' || error != std::errc() || at != last || port == 0) {
      wrong("a port is a number from 1 to 65535");
    }
  }
  if (place.host.empty()) wrong("it names no machine");
  return place;
}

}  // namespace

struct HttpClient::Impl {
  Impl(const std::string& url, HttpClientSettings its_settings)
      : place(place_of(url)), settings(std::move(its_settings)) {}

  // Starts an operation, and waits for its end, until `deadline` at most. Returns the bytes that it
  // moved. `awaited` is what did not come in time.
  template <typename Start>
  std::size_t finish(Clock::time_point deadline, const char* awaited, Start start) {
    beast::error_code result;
    std::size_t moved = 0;
    stream->expires_at(deadline);
    start([&](beast::error_code error, std::size_t bytes) {
      result = error;
      moved = bytes;
    });
    io.restart();
    io.run();
    if (result) {
      stream.reset();
      if (result == beast::error::timeout) {
        throw ConnectionTimeout(fmt::format("there was no {} in time", awaited));
      }
      if (result == http::error::end_of_stream || result == http::error::partial_message) {
        throw ConnectionError("the connection was closed");
      }
      if (result == http::error::body_limit || result == http::error::header_limit ||
          result == http::error::buffer_overflow) {
        throw ConnectionError("its answer is longer than one to a draft can be");
      }
      const bool of_http = result.category() == make_error_code(http::error::bad_method).category();
      throw ConnectionError(of_http ? "its answer is no HTTP" : result.message());
    }
    return moved;
  }

  void connect() {
    if (stream) return;
    tcp::resolver resolver(io);
    beast::error_code error;
    const auto found = resolver.resolve(place.host, place.port, error);
    if (error) throw ConnectionError(error.message());
    stream.emplace(io);
    buffer.clear();
    finish(Clock::now() + settings.connect, "connection", [&](auto done) {
      stream->async_connect(found,
                            [done](beast::error_code e, const tcp::endpoint&) { done(e, 0); });
    });
    stream->socket().set_option(tcp::no_delay(true), error);
  }

  const Place place;
  const HttpClientSettings settings;
  net::io_context io{1};
  std::optional<beast::tcp_stream> stream;  // nothing: not connected
  beast::flat_buffer buffer;
  std::uint64_t sent = 0, received = 0;
};

HttpClient::HttpClient(const std::string& url, HttpClientSettings settings)
    : impl_(std::make_unique<Impl>(url, std::move(settings))) {}

HttpClient::~HttpClient() = default;

std::uint64_t HttpClient::sent() const { return impl_->sent; }
std::uint64_t HttpClient::received() const { return impl_->received; }
void HttpClient::connect() { impl_->connect(); }

HttpResponse HttpClient::post(const std::string& path, const std::string& body) {
  Impl& me = *impl_;
  me.connect();
  http::request<http::string_body> request(http::verb::post, path, 11);
  request.set(http::field::host, me.place.header);
  request.set(http::field::content_type, "application/json");
  if (!me.settings.bearer.empty()) {
    request.set(http::field::authorization, "Bearer " + me.settings.bearer);
  }
  request.body() = body;
  request.prepare_payload();
  const Clock::time_point deadline = Clock::now() + me.settings.answer;
  me.sent += me.finish(deadline, "answer",
                       [&](auto done) { http::async_write(*me.stream, request, done); });
  http::response_parser<http::string_body> parser;
  parser.body_limit(kLongestAnswer);
  me.received += me.finish(deadline, "answer", [&](auto done) {
    http::async_read(*me.stream, me.buffer, parser, done);
  });
  HttpResponse response;
  response.status = static_cast<int>(parser.get().result_int());
  if (!parser.get().keep_alive()) me.stream.reset();
  response.body = std::move(parser.get().body());
  return response;
}

}  // namespace mnm
