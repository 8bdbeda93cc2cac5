// A function with a stack of its own, which can stop in its middle and go on later.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>

#if !defined(__x86_64__)
#include <ucontext.h>
#endif

namespace cuda_on_host {

class Fiber {
 public:
  explicit Fiber(std::function<void()> body);
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;

  // The next resume() begins the body anew, wherever it stands; what it left on its stack is
  // forgotten without being destroyed.
  void restart();
  // Runs the body until it suspends or ends. Not from within a fiber.
  void resume();
  // From within the body.
  void suspend();

 private:
  [[noreturn]] static void enter();

  // An odd number of cache lines, so that the ends of many stacks share no set of a cache.
  static constexpr std::size_t kStack = (std::size_t{64} << 10) + 13 * 64;

  std::function<void()> body_;
  std::unique_ptr<std::byte[]> stack_;
#if defined(__x86_64__)
  void *inside_ = nullptr, *outside_ = nullptr;  // stack pointers
#else
  ucontext_t inside_, outside_;
#endif
  void *inside_fake_ = nullptr, *outside_fake_ = nullptr;  // AddressSanitizer's
  const void* outside_stack_ = nullptr;
  std::size_t outside_size_ = 0;
};

}  // namespace cuda_on_host
