// One connection: its requests, one after the other.
#pragma once

#include <boost/asio/ip/tcp.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <cstdint>
#include <optional>
#include <string_view>

#include "serve/awaitable.h"
#include "serve/body_budget.h"
#include "serve/handover.h"
#include "serve/http_message.h"
#include "serve/routes.h"

namespace mnm {

class HttpConnection;

// What a connection tells the server that has it.
class ConnectionOwner {
 public:
  virtual ~ConnectionOwner() = default;
  // It waits for what the client sends, until the number that is returned is given back. It may be
  // closed meanwhile.
  virtual std::uint64_t became_idle(HttpConnection& connection) = 0;
  virtual void became_busy(std::uint64_t number) = 0;
  virtual Handover& handover() = 0;                      // to the thread of the connections
  virtual bool closing() const = 0;                      // no further request is read
  virtual bool allows(std::string_view host) const = 0;  // the header Host of a request
  virtual BodyBudget& bodies() = 0;                      // of all its connections
  // Makes a share as large as that. False: there is no room. Then the share is as it was, and the
  // request counts as refused.
  virtual bool make_room(BodyShare& share, std::uint64_t bytes) = 0;
  virtual void answered(std::string_view route, int status, double seconds) = 0;
};

class HttpConnection {
 public:
  // The references outlive it.
  HttpConnection(boost::asio::ip::tcp::socket socket, ConnectionOwner& owner,
                 const HttpSettings& settings, Routes& routes);

  boost::asio::awaitable<void> run();  // until it is closed, by either side
  void close();                        // run() returns soon after

 private:
  boost::asio::awaitable<bool> exchange();
  std::optional<HttpResponse> without_body(const HttpRequest& request) const;
  boost::asio::awaitable<void> linger();

  boost::beast::tcp_stream stream_;
  boost::beast::flat_buffer buffer_;
  ConnectionOwner& owner_;
  const HttpSettings& settings_;
  Routes& routes_;
};

}  // namespace mnm
