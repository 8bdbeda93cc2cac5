#include "base/file_clock.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <string>

#include "tests/support/temp_dir.h"

namespace mnm {
namespace {

timespec written(const std::string& path) {
  struct stat status {};
  EXPECT_EQ(::stat(path.c_str(), &status), 0);
  return status.st_mtim;
}

timespec ticking() {
  timespec now{};
  EXPECT_EQ(::clock_gettime(CLOCK_REALTIME_COARSE, &now), 0);
  return now;
}

bool same(const timespec& a, const timespec& b) {
  return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

TEST(Tick, ThePresentOneIsWaitedFor) {
  for (int round = 0; round < 20; ++round) {
    const timespec now = ticking();
    let_tick_pass(now);
    EXPECT_FALSE(same(now, ticking())) << round;
  }
}

TEST(Tick, WhatIsWrittenAfterItHasAnotherTime) {
  const test::TempDir dir;
  const std::string path = (dir / "f").string();
  for (int round = 0; round < 20; ++round) {
    test::spew(path, "one");
    const timespec before = written(path);
    let_tick_pass(before);
    test::spew(path, "two");
    EXPECT_FALSE(same(before, written(path))) << round;
  }
}

TEST(Tick, OfPastAndFutureTimesIsOver) {
  let_tick_pass({1, 0});
  timespec future = ticking();
  future.tv_sec += 1'000'000;
  let_tick_pass(future);
}

}  // namespace
}  // namespace mnm
