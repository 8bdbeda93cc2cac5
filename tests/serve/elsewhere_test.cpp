#include "serve/elsewhere.h"

#include <gtest/gtest.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/thread_pool.hpp>
#include <stdexcept>
#include <string>
#include <thread>

namespace mnm {
namespace {

namespace net = boost::asio;

struct Heard {
  std::string result, error;
  std::thread::id worked, resumed;
};

net::awaitable<void> ask(net::any_io_executor where, Handover& home, bool fails, Heard& heard) {
  const auto work = [&heard, fails] {
    heard.worked = std::this_thread::get_id();
    if (fails) throw std::runtime_error("no answer");
    return std::string("an answer");
  };
  try {
    heard.result = co_await run_elsewhere(where, home, work);
  } catch (const std::runtime_error& error) {
    heard.error = error.what();
  }
  heard.resumed = std::this_thread::get_id();
  home.close();
}

TEST(RunElsewhere, GivesTheResultOrTheErrorToTheThreadThatAsked) {
  for (const bool fails : {false, true}) {
    Heard heard;
    net::thread_pool pool(1);
    net::io_context io;
    Handover home(io);
    net::co_spawn(io, home.run(), net::detached);
    net::co_spawn(io, ask(pool.get_executor(), home, fails, heard), net::detached);
    io.run();
    EXPECT_EQ(heard.result, fails ? "" : "an answer");
    EXPECT_EQ(heard.error, fails ? "no answer" : "");
    EXPECT_EQ(heard.resumed, std::this_thread::get_id());
    EXPECT_NE(heard.worked, heard.resumed);
  }
}

}  // namespace
}  // namespace mnm
