// A forked process that a test watches and kills.
#pragma once

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <exception>
#include <functional>

namespace mnm::test {

// A process that runs `body` with a descriptor to report to. 0: it returned, 1: it threw.
class Child {
 public:
  explicit Child(const std::function<void(int report)>& body) {
    int ends[2];
    if (pipe(ends) != 0) std::abort();
    pid_ = fork();
    if (pid_ == 0) {
      close(ends[0]);
      try {
        body(ends[1]);
      } catch (const std::exception& error) {
        fprintf(stderr, "child: %s\n", error.what());
        _exit(1);
      }
      _exit(0);
    }
    close(ends[1]);
    reports_ = ends[0];
  }
  ~Child() {
    if (pid_ > 0) end(SIGKILL);
    close(reports_);
  }

  pid_t pid() const { return pid_; }
  // Bytes reported until the child ends, or until there are `enough`.
  std::size_t reports(std::size_t enough = ~std::size_t{0}) {
    char byte = 0;
    while (reported_ < enough && read(reports_, &byte, 1) == 1) ++reported_;
    return reported_;
  }
  // A value that the child wrote.
  template <typename Value>
  Value receive() {
    Value value{};
    if (read(reports_, &value, sizeof(value)) != sizeof(value)) ADD_FAILURE() << "the child ended";
    return value;
  }
  void kill_it() { kill(pid_, SIGKILL); }
  int end(int signal = 0) {
    if (signal != 0) kill(pid_, signal);
    int status = 0;
    waitpid(pid_, &status, 0);
    pid_ = 0;
    return status;
  }

 private:
  pid_t pid_ = 0;
  int reports_ = -1;
  std::size_t reported_ = 0;
};

inline void report(int to) {
  if (write(to, "!", 1) != 1) _exit(2);
}

}  // namespace mnm::test
