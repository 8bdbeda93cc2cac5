// The connections of a server: HTTP/1.1 over TCP with Boost.Beast, all on one thread, each
// connection a coroutine.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "serve/http_message.h"
#include "serve/routes.h"

namespace mnm {

class HttpServer {
 public:
  // Takes the address, and no connection yet. `routes`, `metrics` and `settings` outlive it. `log`
  // is called on the thread that runs, once for each answer. It gets the name of a route, never
  // what a client wrote. UsageError if the address or a host is none, or if all bodies may take
  // less memory than one; Error if the address is in use.
  HttpServer(const HttpSettings& settings, Routes& routes, Metrics& metrics, LogSink log);
  ~HttpServer();

  std::uint16_t port() const;
  std::string url() const;  // "http://127.0.0.1:8080"

  // From now on connections are taken, and wait for run(). Error if the address came into use.
  void listen();
  void run();    // until shut down
  void close();  // any thread: takes no more connections, and closes those that are idle

  struct Impl;

 private:
  std::unique_ptr<Impl> impl_;
};

}  // namespace mnm
