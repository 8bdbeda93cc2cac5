// A request and an answer of HTTP as plain data, and the limits that connections keep.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

namespace mnm {

struct HttpRequest {
  std::string method;  // "GET"; of another than the usual ones, as it came
  std::string target;  // as it came
  std::string host, content_type, authorization;  // headers; empty: it has none
  std::string body;
};

struct HttpResponse {
  int status = 200;
  std::string body;
  std::string content_type = "application/json";
  std::vector<std::pair<std::string, std::string>> headers = {};
};

struct HttpSettings {
  std::string address = "127.0.0.1";
  std::uint16_t port = 8080;                    // 0: one that is free
  std::vector<std::string> allowed_hosts = {};  // AllowedHosts' names
  std::int64_t connections = 8192;  // open together. One more closes that which is idle longest
  std::uint32_t header_bytes = 16 << 10;
  std::uint64_t body_bytes = 8 << 20;
  std::uint64_t all_bodies_bytes = 256'000'000;  // of all requests that are not answered yet
  std::chrono::seconds idle{75};     // for a request's header to come, since the last answer
  std::chrono::seconds body{60};     // for its body
  std::chrono::seconds write{30};    // for a client to take what is written
  std::chrono::seconds answer{600};  // for an answer to be computed
};

using LogSink = std::function<void(const std::string& line)>;

}  // namespace mnm
