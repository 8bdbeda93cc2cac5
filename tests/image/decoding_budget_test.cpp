#include "image/decoding_budget.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <limits>
#include <thread>
#include <vector>

namespace mnm {
namespace {

using Share = DecodingBudget::Share;

TEST(DecodingBudget, OneShareMayBeOverdrawnAndTheNextWaits) {
  DecodingBudget budget(100);
  std::atomic<bool> waits = false, given_back = false;
  Share first(budget);
  first.take(100);
  std::jthread third;
  {
    Share second(budget);
    second.take(50);
    second.take(std::numeric_limits<std::uint64_t>::max());
    third = std::jthread([&] {
      Share share(budget);
      waits = true;
      share.take(1);
      EXPECT_TRUE(given_back);
    });
    while (!waits) std::this_thread::yield();
    for (int i = 0; i < 1000; ++i) std::this_thread::yield();
    given_back = true;
  }
}

// Each thread takes in two steps, as a file and its pixels are: none waits for ever, and together
// they hold the budget and one picture at most.
TEST(DecodingBudget, AllSharesTogetherHoldTheBudgetAndOnePicture) {
  constexpr std::int64_t kBudget = 100, kFile = 20, kPixels = 60;
  DecodingBudget budget(kBudget);
  std::atomic<std::int64_t> held = 0, most = 0;
  const auto work = [&] {
    for (int i = 0; i < 200; ++i) {
      Share share(budget);
      for (const std::int64_t bytes : {kFile, kPixels}) {
        share.take(static_cast<std::uint64_t>(bytes));
        const std::int64_t now = held += bytes;
        for (std::int64_t seen = most; seen < now && !most.compare_exchange_weak(seen, now);) {
        }
        std::this_thread::yield();
      }
      held -= kFile + kPixels;
    }
  };
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < 8; ++i) threads.emplace_back(work);
  }
  EXPECT_LE(most, kBudget + kFile + kPixels);
  EXPECT_GE(most, kFile + kPixels);
  EXPECT_EQ(held, 0);
}

}  // namespace
}  // namespace mnm
