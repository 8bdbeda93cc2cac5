// One request on one connection, and its answer. All of it is on the thread of the network.
#pragma once

#include <boost/beast/core/tcp_stream.hpp>
#include <functional>
#include <memory>
#include <string>

#include "serve/awaitable.h"
#include "serve/handover.h"
#include "serve/http_message.h"

namespace mnm {

class Exchange {
 public:
  // `keep_alive`: another request may follow on the connection. `version`: 10 or 11.
  Exchange(boost::beast::tcp_stream& stream, Handover& handover, HttpRequest request,
           const HttpSettings& settings, unsigned version, bool keep_alive);

  const HttpRequest& request() const { return request_; }
  std::string take_body() { return std::move(request_.body); }  // once
  const HttpSettings& settings() const { return settings_; }
  Handover& handover() { return handover_; }  // to this thread

  // The whole answer.
  boost::asio::awaitable<void> reply(const HttpResponse& response);

  // An answer by server-sent events: the header; events, in the form of event_of; the end.
  boost::asio::awaitable<void> begin_events();
  boost::asio::awaitable<void> send_events(std::string events);
  boost::asio::awaitable<void> end_events();

  // Calls `gone` once if the client closes the connection before unwatch(). A client that closes
  // only its own direction counts as gone, too: no client of this protocol does that. A later
  // watch() takes the place of an earlier one.
  void watch(std::function<void()> gone);
  void unwatch();

  int status() const { return status_; }           // 0: nothing was sent
  bool keep_alive() const { return keep_alive_; }  // after the answer
  void close_after() { keep_alive_ = false; }
  bool broken() const { return broken_; }  // what was written did not arrive

 private:
  boost::beast::tcp_stream& stream_;
  Handover& handover_;
  HttpRequest request_;
  const HttpSettings& settings_;
  unsigned version_;
  bool keep_alive_, broken_ = false;
  int status_ = 0;
  std::shared_ptr<std::function<void()>> gone_;
};

}  // namespace mnm
