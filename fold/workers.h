// Runs work on several threads. Compiled only into the engine.
#pragma once

#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>

#include <exception>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

namespace mnm {

// Runs `work` on `workers` threads, with this one among them, and waits for all. If one fails, it
// calls `stop`, which must make the others end, and then throws what that one threw. With several
// workers, the operators inside use one thread each. (This is not an OpenMP region. In one, MKL
// opens another region for each product. With fewer free cores than threads, its waiting took ten
// times as long as the work itself.)
template <typename Work, typename Stop>
void run_workers(int workers, const Work& work, const Stop& stop) {
  if (workers == 1) return work();
  std::exception_ptr failure;
  std::mutex mutex;
  const auto run = [&] {
    const at::NoGradGuard no_grad;  // thread-local
    try {
      at::set_num_threads(1);  // OpenMP's is thread-local, MKL's is everyone's
      work();
    } catch (...) {
      stop();  // the others' results are of no use any more
      const std::lock_guard lock(mutex);
      if (!failure) failure = std::current_exception();
    }
  };
  struct Restore {
    int threads = at::get_num_threads();
    ~Restore() { at::set_num_threads(threads); }
  } const restore;
  {
    std::vector<std::jthread> others;
    try {
      for (int i = 1; i < workers; ++i) others.emplace_back(run);
    } catch (const std::system_error&) {  // no more threads to be had: those there are do the work
    }
    run();
  }
  if (failure) std::rethrow_exception(failure);
}

}  // namespace mnm
