// A server of HTTP whose answers a test writes. It has one connection at a time.
#pragma once

#include <atomic>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <thread>

namespace mnm::test {

class ScriptedServer {
 public:
  struct Answer {
    int status = 200;
    nlohmann::json body;
  };
  // Called on a thread of its own, with each body. Nothing: the connection stays silent.
  using Script = std::function<std::optional<Answer>(const nlohmann::json&)>;

  explicit ScriptedServer(Script script)
      : script_(std::move(script)), thread_([this] { serve(); }) {}
  ~ScriptedServer() {
    done_ = true;
    boost::system::error_code ignored;
    Tcp::socket(io_).connect(acceptor_.local_endpoint(), ignored);  // it may wait for a connection
    thread_.join();
  }

  std::string url() const {
    return "http://127.0.0.1:" + std::to_string(acceptor_.local_endpoint().port());
  }
  int connections() const { return connections_; }

 private:
  using Tcp = boost::asio::ip::tcp;

  void serve() {
    while (true) {
      Tcp::socket socket = acceptor_.accept();
      if (done_) return;
      ++connections_;
      talk(socket);
    }
  }

  void talk(Tcp::socket& socket) {
    namespace http = boost::beast::http;
    boost::beast::flat_buffer buffer;
    boost::system::error_code error;
    while (!error) {
      http::request<http::string_body> request;
      http::read(socket, buffer, request, error);
      if (error) return;
      const std::optional<Answer> answer = script_(nlohmann::json::parse(request.body()));
      if (!answer) continue;
      http::response<http::string_body> response(static_cast<http::status>(answer->status), 11);
      response.body() = answer->body.dump();
      response.prepare_payload();
      http::write(socket, response, error);
    }
  }

  Script script_;
  std::atomic<bool> done_ = false;
  std::atomic<int> connections_ = 0;
  boost::asio::io_context io_;
  Tcp::acceptor acceptor_{io_, {boost::asio::ip::make_address("127.0.0.1"), 0}};
  std::thread thread_;
};

}  // namespace mnm::test
