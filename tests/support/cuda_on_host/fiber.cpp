#include "tests/support/cuda_on_host/fiber.h"

#include <cstdint>
#include <utility>

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

#if defined(__x86_64__)
// swapcontext asks the kernel for the signal mask each time: a hundred times as long.
extern "C" void mnm_switch_stack(void** from, void* to);
asm(R"(
.text
.hidden mnm_switch_stack
.globl mnm_switch_stack
.type mnm_switch_stack, @function
mnm_switch_stack:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size mnm_switch_stack, . - mnm_switch_stack
)");
#endif

namespace cuda_on_host {
namespace {

Fiber* starting = nullptr;

// AddressSanitizer is told of every change of stacks.
void leaving([[maybe_unused]] void** fake, [[maybe_unused]] const void* stack,
             [[maybe_unused]] std::size_t size) {
#ifdef __SANITIZE_ADDRESS__
  __sanitizer_start_switch_fiber(fake, stack, size);
#endif
}
void arrived([[maybe_unused]] void* fake, [[maybe_unused]] const void** stack,
             [[maybe_unused]] std::size_t* size) {
#ifdef __SANITIZE_ADDRESS__
  __sanitizer_finish_switch_fiber(fake, stack, size);
#endif
}

}  // namespace

Fiber::Fiber(std::function<void()> body) : body_(std::move(body)), stack_(new std::byte[kStack]) {}

void Fiber::restart() {
  inside_fake_ = nullptr;
#ifdef __SANITIZE_ADDRESS__
  __asan_unpoison_memory_region(stack_.get(), kStack);
#endif
#if defined(__x86_64__)
  // As after a call: the address to return to lies below a multiple of 16.
  const auto end = reinterpret_cast<std::uintptr_t>(stack_.get() + kStack) / 16 * 16;
  void** top = reinterpret_cast<void**>(end - 16);
  *top = reinterpret_cast<void*>(&Fiber::enter);
  for (int saved = 0; saved < 6; ++saved) *--top = nullptr;
  inside_ = top;
#else
  getcontext(&inside_);
  inside_.uc_stack.ss_sp = stack_.get();
  inside_.uc_stack.ss_size = kStack;
  inside_.uc_link = nullptr;
  makecontext(&inside_, reinterpret_cast<void (*)()>(&Fiber::enter), 0);
#endif
}

void Fiber::resume() {
  starting = this;
  leaving(&outside_fake_, stack_.get(), kStack);
#if defined(__x86_64__)
  mnm_switch_stack(&outside_, inside_);
#else
  swapcontext(&outside_, &inside_);
#endif
  arrived(outside_fake_, nullptr, nullptr);
}

void Fiber::suspend() {
  leaving(&inside_fake_, outside_stack_, outside_size_);
#if defined(__x86_64__)
  mnm_switch_stack(&inside_, outside_);
#else
  swapcontext(&inside_, &outside_);
#endif
  arrived(inside_fake_, &outside_stack_, &outside_size_);
}

void Fiber::enter() {
  Fiber& self = *starting;
  arrived(nullptr, &self.outside_stack_, &self.outside_size_);
  self.body_();
  for (;;) self.suspend();
}

}  // namespace cuda_on_host
