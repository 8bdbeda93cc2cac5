#include "cluster/coordinator.h"

#include <gtest/gtest.h>

#include <chrono>
#include <exception>
#include <map>
#include <stdexcept>
#include <thread>

#include "base/error.h"
#include "tests/cluster/local_transport.h"
#include "tests/support/error_of.h"

namespace mnm {
namespace {

using std::chrono::milliseconds;
using test::contains;
using test::error_of;
using test::LocalNetwork;

// Nobody is taken for dead because a busy machine keeps a thread waiting, but where somebody dies.
constexpr double kPatience = 3600, kSilence = 2;
constexpr milliseconds kBeat(20);

// Reverses the task, and takes a while for it.
std::string reverse(const std::string& task, const ProgressSink& sink) {
  for (int i = 0; i < 5; ++i) {
    std::this_thread::sleep_for(milliseconds(2));
    if (!sink({i / 5.0, 1})) throw Stopped();
  }
  return {task.rbegin(), task.rend()};
}

class Ranks : public ::testing::Test {
 protected:
  explicit Ranks(double silence = kPatience) : silence_(silence) {}
  static constexpr int kSize = 4;

  void SetUp() override {
    for (int rank = 1; rank < kSize; ++rank) {
      others_.emplace_back([this, rank] {
        Post post([this, rank] { return network_.open(rank); }, kBeat);
        const Perform perform = [this, rank](const std::string& task, const ProgressSink& sink) {
          ++performed_[static_cast<std::size_t>(rank)];
          if (on_task_) on_task_(rank, task);
          return reverse(task, sink);
        };
        try {
          serve(post, perform, silence_);
        } catch (const Error& error) {
          ended_[static_cast<std::size_t>(rank)] = error.what();
        }
      });
    }
    post_.emplace([this] { return network_.open(0); }, kBeat);
  }

  void TearDown() override {
    post_.reset();
    for (std::thread& other : others_) other.join();
  }

  static std::vector<Task> tasks(std::size_t n) {
    std::vector<Task> all;
    for (std::size_t i = 0; i < n; ++i) {
      all.push_back({"task " + std::to_string(i), static_cast<double>(1 + i % 5)});
    }
    return all;
  }

  // Runs so many tasks, expects each result once, and says how many.
  void run(Coordinator& coordinator, std::size_t n) {
    const std::vector<Task> all = tasks(n);
    std::map<std::size_t, std::string> results;
    double share = -1;
    coordinator.run(
        all, &reverse,
        [&](std::size_t task, const std::string& result) {
          EXPECT_TRUE(results.emplace(task, result).second) << task << " came twice";
        },
        [&](const Progress& progress) {
          share = progress.share();
          return true;
        });
    ASSERT_EQ(results.size(), n);
    for (const auto& [task, result] : results) {
      const std::string expected(all[task].body.rbegin(), all[task].body.rend());
      EXPECT_EQ(result, expected);
    }
    EXPECT_EQ(share, n > 0 ? 1 : -1);
  }

  Coordinator coordinator() {
    return Coordinator(*post_, [this](const std::string& text) { said_ += text + "\n"; },
                       {.silence = silence_});
  }

  const double silence_;
  LocalNetwork network_{kSize};
  std::function<void(int, const std::string&)> on_task_;
  std::atomic<int> performed_[kSize] = {};
  std::string ended_[kSize];
  std::string said_;
  std::vector<std::thread> others_;
  std::optional<Post> post_;
};

// Whoever dies is missed after a hundred beats, and so may one be that had to wait: the results are
// the same.
class DyingRanks : public Ranks {
 protected:
  DyingRanks() : Ranks(kSilence) {}
};

TEST_F(Ranks, AllWorkAndEachResultComesOnce) {
  {
    Coordinator first = coordinator();
    for (const std::size_t n : {40, 0, 1, 13}) run(first, n);
  }
  post_.reset();
  for (std::thread& other : others_) other.join();
  others_.clear();
  EXPECT_EQ(network_.finished, kSize) << "all part together";
  for (int rank = 1; rank < kSize; ++rank) {
    EXPECT_GT(performed_[rank], 0) << rank;
    EXPECT_EQ(ended_[rank], "");
  }
  EXPECT_EQ(said_, "");
}

TEST_F(DyingRanks, ARankThatDiesCostsOnlyWhatItWasAt) {
  std::atomic<int> killed = 0;
  on_task_ = [&](int rank, const std::string&) {
    if (rank == 2 && killed++ == 0) network_.kill(2);
  };
  {
    Coordinator first = coordinator();
    run(first, 60);
    EXPECT_TRUE(contains(said_, "rank 2 was not heard of")) << said_;
    EXPECT_EQ(killed, 1) << "it got no more";
    run(first, 20);  // without it, and without waiting for it again
    EXPECT_EQ(said_.find("rank 2"), said_.rfind("rank 2"));
  }
  post_.reset();
  for (std::thread& other : others_) other.join();
  others_.clear();
  EXPECT_EQ(network_.finished, 0) << "nobody waits for the dead one";
  EXPECT_TRUE(contains(ended_[2], "rank 0 was not heard of")) << "for it, the others are gone";
}

TEST_F(DyingRanks, WhenAllOthersDieTheFirstGoesOnAlone) {
  on_task_ = [&](int rank, const std::string&) { network_.kill(rank); };
  Coordinator first = coordinator();
  run(first, 12);
}

// Its task goes to another and it is given no other, in later runs too; it leaves with all.
TEST_F(Ranks, ARankWhoseDeviceIsLostStays) {
  std::atomic<int> asked = 0;
  on_task_ = [&](int rank, const std::string&) {
    if (rank == 2 && ++asked > 0) throw DeviceLost("scoring lost cuda:2");
  };
  {
    Coordinator first = coordinator();
    for (const std::size_t n : {60, 20}) run(first, n);
    EXPECT_EQ(said_,
              "rank 2: scoring lost cuda:2: it is given nothing more, and what it was at goes to "
              "others\n");
    EXPECT_EQ(asked, 1);
  }
  post_.reset();
  for (std::thread& other : others_) other.join();
  others_.clear();
  EXPECT_EQ(network_.finished, kSize) << "all part together";
}

TEST_F(Ranks, TheFirstGoesOnHandingOutWithoutADevice) {
  std::atomic<int> own = 0;
  std::size_t taken = 0;
  Coordinator first = coordinator();
  for (int i = 0; i < 2; ++i) {
    first.run(
        tasks(20),
        [&](const std::string&, const ProgressSink&) -> std::string {
          ++own;
          throw DeviceLost("scoring lost cuda:0");
        },
        [&](std::size_t, const std::string&) { ++taken; }, [](const Progress&) { return true; });
  }
  EXPECT_EQ(own, 1);
  EXPECT_EQ(taken, 40u);
}

TEST_F(Ranks, WithoutAnyDeviceThereIsAnError) {
  const auto lose = [](const std::string&, const ProgressSink&) -> std::string {
    throw DeviceLost("scoring lost cuda:0");
  };
  on_task_ = [&](int, const std::string&) { throw DeviceLost("scoring lost its device"); };
  Coordinator first = coordinator();
  for (int i = 0; i < 2; ++i) {
    try {
      first.run(
          tasks(20), lose, [](std::size_t, const std::string&) {},
          [](const Progress&) { return true; });
      ADD_FAILURE() << "nobody could do it";
    } catch (const DeviceLost& error) {
      EXPECT_STREQ(error.what(), "no rank is left to score; rank 0: scoring lost cuda:0");
    }
  }
}

TEST_F(Ranks, WhatATaskThrowsNamesTheRank) {
  on_task_ = [](int rank, const std::string&) {
    if (rank == 3) throw std::runtime_error("the file ends");
  };
  Coordinator first = coordinator();
  const std::string said = error_of([&] { run(first, 40); });
  EXPECT_TRUE(contains(said, "rank 3: the file ends")) << said;
}

TEST_F(Ranks, WhatThisRanksTaskThrowsIsThrown) {
  Coordinator first = coordinator();
  EXPECT_THROW(first.run(
                   tasks(20),
                   [](const std::string&, const ProgressSink&) -> std::string { throw Stopped(); },
                   [](std::size_t, const std::string&) {}, [](const Progress&) { return true; }),
               Stopped);
}

TEST_F(Ranks, StopsWhenTheSinkSaysSo) {
  Coordinator first = coordinator();
  std::size_t taken = 0;
  EXPECT_THROW(first.run(
                   tasks(1000), &reverse, [&](std::size_t, const std::string&) { ++taken; },
                   [&](const Progress&) { return taken < 5; }),
               Stopped);
  EXPECT_LT(taken, 50u);
}

TEST(Post, LettersOfAnotherProgramAreRefused) {
  LocalNetwork network(2);
  Post post([&] { return network.open(0); }, kBeat);
  network.open(1)->send(0, "hello");
  EXPECT_TRUE(contains(error_of([&] {
                         for (int i = 0; i < 60'000; ++i) post.wait(milliseconds(10));
                       }),
                       "rank 1 sent 5 bytes"));
}

TEST(Post, WhatOpeningThrowsIsThrown) {
  EXPECT_EQ(
      error_of([] { Post post([]() -> std::unique_ptr<Transport> { fail("no MPI here"); }); }),
      "no MPI here");
}

}  // namespace
}  // namespace mnm
