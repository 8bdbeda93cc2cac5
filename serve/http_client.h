// A client of HTTP/1.1 over TCP: one connection, and one request after the other on it.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>

#include "base/error.h"
#include "serve/http_message.h"

namespace mnm {

struct HttpClientSettings {
  std::string bearer;                // a secret that is shown; empty: none
  std::chrono::seconds connect{10};  // for a connection to be there
  std::chrono::seconds answer{60};   // for a request to be sent and answered
};

// There is no connection, or it ended before the answer was there. The message is the reason alone.
class ConnectionError : public Error {
 public:
  using Error::Error;
};

// The connection took longer than it may, or the answer.
class ConnectionTimeout : public ConnectionError {
 public:
  using ConnectionError::ConnectionError;
};

class HttpClient {
 public:
  // `url` is http://HOST, http://HOST:PORT or http://[IPv6]:PORT, and a slash behind it is allowed.
  // UsageError if it is not. There is no TLS here.
  HttpClient(const std::string& url, HttpClientSettings settings);
  ~HttpClient();

  // Connects, unless it is connected. ConnectionError.
  void connect();
  // Connects first where that is needed. ConnectionError, after which another call begins anew.
  HttpResponse post(const std::string& path, const std::string& body);

  // Bytes of all requests and answers so far, with their headers and without TCP's own.
  std::uint64_t sent() const;
  std::uint64_t received() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace mnm
