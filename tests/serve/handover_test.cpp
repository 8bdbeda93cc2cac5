#include "serve/handover.h"

#include <gtest/gtest.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <cstddef>
#include <memory>
#include <thread>
#include <vector>

namespace mnm {
namespace {

namespace net = boost::asio;

// If a ring were lost, run() would not return.
TEST(Handover, CallsOfOneThreadComeInOrderAndOnTheNetworksThread) {
  constexpr std::size_t kThreads = 4;
  constexpr int kCalls = 5000;
  net::io_context io;
  Handover handover(io);
  std::vector<int> expected(kThreads, 0);  // of each thread, its next call
  int wrong = 0, left = static_cast<int>(kThreads) * kCalls;
  net::co_spawn(io, handover.run(), net::detached);
  std::thread network([&] { io.run(); });
  const std::thread::id its_id = network.get_id();
  std::vector<std::thread> others;
  for (std::size_t t = 0; t < kThreads; ++t) {
    others.emplace_back([&, t] {
      for (int i = 0; i < kCalls; ++i) {
        handover.post([&, t, i] {
          if (expected[t]++ != i || std::this_thread::get_id() != its_id) ++wrong;
          if (--left == 0) handover.close();
        });
      }
    });
  }
  for (std::thread& other : others) other.join();
  network.join();
  EXPECT_EQ(wrong, 0);
  EXPECT_EQ(left, 0);
}

TEST(Handover, ACallMayGiveAnother) {
  net::io_context io;
  Handover handover(io);
  std::vector<int> made;
  net::co_spawn(io, handover.run(), net::detached);
  handover.post([&] {
    handover.post([&] {
      made.push_back(3);
      handover.close();
    });
    made.push_back(1);
  });
  handover.post([&] { made.push_back(2); });
  io.run();
  EXPECT_EQ(made, (std::vector<int>{1, 2, 3}));
}

TEST(Handover, WhatComesAfterTheEndIsNeverMade) {
  const auto held = std::make_shared<int>(0);
  {
    net::io_context io;
    Handover handover(io);
    net::co_spawn(io, handover.run(), net::detached);
    handover.post([&] { handover.close(); });
    io.run();
    handover.post([held] { ++*held; });
    EXPECT_EQ(held.use_count(), 2);
  }
  EXPECT_EQ(held.use_count(), 1);
  EXPECT_EQ(*held, 0);
}

}  // namespace
}  // namespace mnm
