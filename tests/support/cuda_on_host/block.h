// The threads of a block, one after the other, and what they do together.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <random>
#include <source_location>
#include <string>
#include <vector>

#include "tests/support/cuda_on_host/cuda_on_host.h"
#include "tests/support/cuda_on_host/fiber.h"

namespace cuda_on_host {

class Block {
 public:
  // Runs threads [0, count): `place` makes one the current one, `thread` is what it does. Says what
  // is wrong with what they did, if anything.
  std::optional<std::string> run(unsigned count, Order order,
                                 const std::function<void(unsigned)>& place,
                                 const std::function<void()>& thread);

  // From within a thread.
  void wait(const std::source_location& at);
  std::uint64_t shuffle_down(unsigned mask, std::uint64_t bits, unsigned offset,
                             const std::source_location& at);

 private:
  static constexpr unsigned kWarp = 32;

  struct Thread {
    explicit Thread(std::function<void()> body) : fiber(std::move(body)) {}
    Fiber fiber;
    enum { kReady, kWaits, kShuffles, kHasReturned } state = kReady;
    std::source_location at{};  // of what it waits for
    unsigned mask = 0, offset = 0;
    std::uint64_t bits = 0;
  };

  void exchange(unsigned warp);
  bool all_wait_together() const;
  std::string what_is_stuck() const;
  std::string fault_of_shuffle(unsigned warp, unsigned lane) const;

  unsigned count_ = 0, current_ = 0;
  const std::function<void()>* thread_ = nullptr;
  std::vector<std::unique_ptr<Thread>> threads_;
  std::vector<unsigned> shuffling_;  // of each warp the lanes that wait for others
  std::optional<std::string> fault_;
  std::mt19937 random_{1};
};

}  // namespace cuda_on_host
