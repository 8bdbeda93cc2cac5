#include "base/progress.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <vector>

namespace mnm {
namespace {

TEST(Progress, ShareIsOfTheTotalAndNeverMoreThanAll) {
  EXPECT_EQ((Progress{1, 4}.share()), 0.25);
  EXPECT_EQ((Progress{5, 4}.share()), 1);
  EXPECT_EQ((Progress{0, 0}.share()), 1) << "there is nothing to do";
}

TEST(Meter, TellsWhatSeveralThreadsHaveDone) {
  double last = 0;
  const ProgressSink sink = [&](const Progress& progress) {
    EXPECT_GT(progress.done, last) << "one call at a time";
    EXPECT_EQ(progress.total, 4000);
    last = progress.done;
    return true;
  };
  Meter meter(sink, 4000, kEveryStep);
  {
    std::vector<std::jthread> threads;
    for (int thread = 0; thread < 4; ++thread) {
      threads.emplace_back([&] {
        for (int i = 0; i < 1000; ++i) meter.add(1);
      });
    }
  }
  EXPECT_EQ(last, 4000);
}

TEST(Meter, AfterTheSinkSaysStopEveryCallThrowsAndNoneIsTold) {
  int told = 0;
  const ProgressSink sink = [&](const Progress&) { return ++told < 3; };
  Meter meter(sink, 10, kEveryStep);
  meter.add(1);
  meter.add(1);
  for (int i = 0; i < 3; ++i) EXPECT_THROW(meter.add(1), Stopped);
  EXPECT_EQ(told, 3);
}

TEST(Meter, StopsWhereAnotherThreadHasFailed) {
  const ProgressSink none;
  Meter meter(none, 10, kEveryStep);
  meter.add(1);
  meter.stop();
  EXPECT_THROW(meter.add(1), Stopped);
  EXPECT_THROW(meter.add(1), Error) << "Stopped is an Error like all others";
}

TEST(Meter, IsSilentBetweenIntervalsAndTellsTheEnd) {
  std::vector<double> told;
  const ProgressSink sink = [&](const Progress& progress) {
    told.push_back(progress.done);
    return true;
  };
  Meter meter(sink, 3, std::chrono::hours(1));
  for (int i = 0; i < 3; ++i) meter.add(1);
  EXPECT_TRUE(told.empty());
  meter.finish();
  EXPECT_EQ(told, std::vector<double>{3});
}

}  // namespace
}  // namespace mnm
