#include "serve/server.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <map>

#include "base/error.h"
#include "serve/allowed_hosts.h"
#include "serve/handover.h"
#include "serve/http_connection.h"

namespace mnm {
namespace {

namespace net = boost::asio;
using net::ip::tcp;

// How long accepting rests after an error that closing an idle connection does not mend at once: no
// memory for a connection, for instance, or no descriptor and no idle connection.
constexpr std::chrono::milliseconds kRest{20};

}  // namespace

struct HttpServer::Impl final : ConnectionOwner {
  Impl(const HttpSettings& its_settings, Routes& its_routes, Metrics& its_metrics, LogSink its_log)
      : settings(its_settings),
        routes(its_routes),
        metrics(its_metrics),
        log(std::move(its_log)),
        hosts(settings.address, settings.allowed_hosts),
        budget{settings.all_bodies_bytes, 0} {
    if (budget.most >= settings.body_bytes) return;
    fail_usage(
        "{} bytes for the bodies of all requests are less than the {} that one may have; give "
        "--body-memory at least that",
        budget.most, settings.body_bytes);
  }

  void bind() {
    boost::system::error_code error;
    const net::ip::address address = net::ip::make_address(settings.address, error);
    if (error) {
      fail_usage("cannot listen on '{}': it is no IP address, such as 127.0.0.1 or ::1",
                 settings.address);
    }
    const tcp::endpoint endpoint(address, settings.port);
    acceptor.open(endpoint.protocol(), error);
    if (!error) acceptor.set_option(tcp::acceptor::reuse_address(true), error);
    if (!error) acceptor.bind(endpoint, error);
    require_free(error);
  }

  void listen() {
    boost::system::error_code error;
    acceptor.listen(net::socket_base::max_listen_connections, error);
    require_free(error);
  }

  void require_free(const boost::system::error_code& error) const {
    if (!error) return;
    fail("cannot listen on {} port {}: {}; choose another with --port", settings.address,
         settings.port, error.message());
  }

  net::awaitable<void> accept() {
    while (acceptor.is_open()) {
      boost::system::error_code error;
      tcp::socket socket =
          co_await acceptor.async_accept(net::redirect_error(net::use_awaitable, error));
      if (!acceptor.is_open() || error == net::error::operation_aborted) co_return;
      if (error) {
        const bool closed = close_idlest();  // its descriptor is free at once
        if (closed && error == net::error::no_descriptors) continue;
        net::steady_timer rest(io, kRest);
        co_await rest.async_wait(net::redirect_error(net::use_awaitable, error));
        continue;
      }
      // One that is closed has its place free soon after. If none is idle, the new one is refused.
      if (open >= settings.connections && !close_idlest()) continue;
      net::co_spawn(io, serve_connection(std::move(socket)), net::detached);
    }
  }

  net::awaitable<void> serve_connection(tcp::socket socket) {
    metrics.connections(++open);
    try {
      HttpConnection connection(std::move(socket), *this, settings, routes);
      co_await connection.run();
    } catch (const std::exception&) {
      // Only this connection ends by it: out of memory, for instance.
    }
    metrics.connections(--open);
    end_handover();
  }

  void shut_down() {
    shut = true;
    boost::system::error_code ignored;
    acceptor.close(ignored);
    for (const auto& [number, connection] : idle) connection->close();
    end_handover();
  }

  // Once no connection is left that may wait for another thread, io runs out of work.
  void end_handover() {
    if (shut && open == 0) inbox.close();
  }

  bool close_idlest() {  // false: none is idle
    if (idle.empty()) return false;
    idle.extract(idle.begin()).mapped()->close();
    return true;
  }

  // ConnectionOwner.
  std::uint64_t became_idle(HttpConnection& connection) override {
    idle.emplace(++idle_number, &connection);
    return idle_number;
  }
  void became_busy(std::uint64_t number) override { idle.erase(number); }
  Handover& handover() override { return inbox; }
  bool closing() const override { return shut; }
  bool allows(std::string_view host) const override { return hosts.allow(host); }
  BodyBudget& bodies() override { return budget; }
  bool make_room(BodyShare& share, std::uint64_t bytes) override {
    if (share.resize(bytes)) return true;
    metrics.refused();
    return false;
  }
  void answered(std::string_view route, int status, double seconds) override {
    metrics.request(route, status, seconds);
    if (log) log(fmt::format("{} {} {:.3f} s", route, status, seconds));
  }

  const HttpSettings& settings;
  Routes& routes;
  Metrics& metrics;
  LogSink log;
  AllowedHosts hosts;
  BodyBudget budget;
  std::map<std::uint64_t, HttpConnection*> idle;  // the one that is so longest first
  std::uint64_t idle_number = 0;
  std::int64_t open = 0;
  bool shut = false;
  // Last: what is left of its connections says that they are idle no more.
  net::io_context io{1};
  Handover inbox{io};  // what other threads give to the one that runs
  tcp::acceptor acceptor{io};
};

HttpServer::HttpServer(const HttpSettings& settings, Routes& routes, Metrics& metrics, LogSink log)
    : impl_(std::make_unique<Impl>(settings, routes, metrics, std::move(log))) {
  impl_->bind();
}

HttpServer::~HttpServer() = default;

std::uint16_t HttpServer::port() const { return impl_->acceptor.local_endpoint().port(); }

std::string HttpServer::url() const {
  const tcp::endpoint at = impl_->acceptor.local_endpoint();
  const std::string host = at.address().to_string();
  return at.address().is_v6() ? fmt::format("http://[{}]:{}", host, at.port())
                              : fmt::format("http://{}:{}", host, at.port());
}

void HttpServer::listen() { impl_->listen(); }

void HttpServer::run() {
  net::co_spawn(impl_->io, impl_->inbox.run(), net::detached);
  net::co_spawn(impl_->io, impl_->accept(), net::detached);
  impl_->io.run();
}

void HttpServer::close() {
  impl_->inbox.post([this] { impl_->shut_down(); });
}

}  // namespace mnm
