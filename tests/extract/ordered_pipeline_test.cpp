#include "extract/ordered_pipeline.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace mnm {
namespace {

// Prepares late parts first, so that only the order kept by run_in_order can put them right.
class Recorder final : public PartWorker {
 public:
  struct Shared {
    std::vector<std::uint64_t> finished;  // guarded by the turn alone
    std::atomic<int> preparing = 0, finishing = 0, most_preparing = 0, most_finishing = 0;
    std::uint64_t fail_prepare = ~0ull, fail_finish = ~0ull;
  };
  explicit Recorder(Shared& shared) : shared_(shared) {}

  void prepare(std::uint64_t part) override {
    const Inside inside(shared_.preparing, shared_.most_preparing);
    std::this_thread::sleep_for(std::chrono::microseconds(part % 3 == 0 ? 900 : 100));
    if (part >= shared_.fail_prepare) throw std::runtime_error(std::to_string(part));
    prepared_ = part;
  }
  void finish(std::uint64_t part) override {
    const Inside inside(shared_.finishing, shared_.most_finishing);
    EXPECT_EQ(prepared_, part) << "the thread that prepared it finishes it";
    if (part == shared_.fail_finish) throw std::runtime_error(std::to_string(part));
    shared_.finished.push_back(part);
  }

 private:
  struct Inside {
    Inside(std::atomic<int>& count, std::atomic<int>& most) : count_(count) {
      const int now = ++count_;
      int seen = most.load();
      while (now > seen && !most.compare_exchange_weak(seen, now)) {
      }
    }
    ~Inside() { --count_; }
    std::atomic<int>& count_;
  };
  Shared& shared_;
  std::uint64_t prepared_ = ~0ull;
};

void run(Recorder::Shared& shared, std::uint64_t parts, unsigned threads) {
  run_in_order(parts, threads, [&] { return std::make_unique<Recorder>(shared); });
}

TEST(InOrder, PartsAreFinishedInOrderByOneAtATime) {
  for (unsigned threads : {0u, 1u, 2u, 5u}) {
    for (std::uint64_t parts : {0u, 1u, 2u, 50u}) {
      Recorder::Shared shared;
      run(shared, parts, threads);
      ASSERT_EQ(shared.finished.size(), parts);
      for (std::uint64_t i = 0; i < parts; ++i) EXPECT_EQ(shared.finished[i], i);
      EXPECT_LE(shared.most_finishing, 1);
      EXPECT_LE(shared.most_preparing, std::max(1, static_cast<int>(threads)));
    }
  }
}

TEST(InOrder, PartsArePreparedSideBySide) {
  Recorder::Shared shared;
  run(shared, 50, 5);
  EXPECT_GT(shared.most_preparing, 1);
}

// Whatever fails later, the first part that fails is the one that is told, and all before it are
// done.
TEST(InOrder, TheFirstFailureIsTold) {
  for (bool at_finish : {false, true}) {
    for (std::uint64_t fatal : {0u, 7u, 49u}) {
      Recorder::Shared shared;
      (at_finish ? shared.fail_finish : shared.fail_prepare) = fatal;
      try {
        run(shared, 50, 4);
        ADD_FAILURE() << "nothing was thrown";
      } catch (const std::runtime_error& error) {
        EXPECT_EQ(error.what(), std::to_string(fatal));
      }
      EXPECT_EQ(shared.finished.size(), fatal);
    }
  }
}

}  // namespace
}  // namespace mnm
