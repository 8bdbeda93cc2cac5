// The built program, run as a user runs it.
#pragma once

#include <fcntl.h>
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/temp_dir.h"

namespace mnm::test {

struct Result {
  int status = -1;  // exit status; minus the signal's number where one ended it
  std::string out, err;
  double seconds = 0;      // on the clock
  double cpu_seconds = 0;  // at work, whatever else the machine did
  long max_resident_kib = 0;

  nlohmann::json json() const { return nlohmann::json::parse(out); }
};

// A program under way.
class Running {
 public:
  enum class Start { kFree, kTraced };

  // argv[0] is looked up as a path. Standard input is empty. With kTraced it waits for hold().
  explicit Running(const std::vector<std::string>& argv, Start start = Start::kFree) {
    std::vector<char*> words;
    for (const std::string& word : argv) words.push_back(const_cast<char*>(word.c_str()));
    words.push_back(nullptr);
    const std::string out = (dir_ / "out").string(), err = (dir_ / "err").string();
    spew(out, "");
    spew(err, "");
    pid_ = fork();
    if (pid_ < 0) throw std::runtime_error("fork failed");
    if (pid_ == 0) {
      const auto redirect = [](int target, const char* path, int flags) {
        const int descriptor = open(path, flags, 0600);
        if (descriptor < 0 || dup2(descriptor, target) < 0) _exit(126);
      };
      redirect(0, "/dev/null", O_RDONLY);
      redirect(1, out.c_str(), O_WRONLY | O_CREAT | O_TRUNC);
      redirect(2, err.c_str(), O_WRONLY | O_CREAT | O_TRUNC);
      if (start == Start::kTraced && ptrace(PTRACE_TRACEME, 0, nullptr, nullptr) != 0) _exit(125);
      execv(words[0], words.data());
      _exit(127);
    }
  }
  Running(const Running&) = delete;
  Running& operator=(const Running&) = delete;
  ~Running() {
    if (pid_ > 0) {
      signal(SIGKILL);
      wait();
    }
  }

  pid_t pid() const { return pid_; }
  void signal(int number) const { ::kill(pid_, number); }
  std::string out() const { return slurp(dir_ / "out"); }  // so far
  std::string err() const { return slurp(dir_ / "err"); }  // likewise

  bool ended() const {
    siginfo_t info{};
    return waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
           info.si_pid != 0;
  }

  // Waits until standard error holds `text`, or the program has ended; whether it does.
  bool says(const std::string& text) const {
    for (;;) {
      const bool last = ended();
      if (err().find(text) != std::string::npos) return true;
      if (last) return false;
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
  }

  // Of a traced program: lets it run to its end, and calls `act` once, at the first beginning or
  // end of a system call at which `now` says so. Meanwhile every thread comes as far as its next
  // call. So a test meets a moment of the program, however fast or busy the machine is. Returns
  // whether `act` was called.
  bool hold(const std::function<bool()>& now, const std::function<void()>& act) {
    constexpr int kCall = SIGTRAP | 0x80;  // the stop at a call, as PTRACE_O_TRACESYSGOOD marks it
    bool begun = false, acted = false;
    for (siginfo_t info{};; info = {}) {
      if (waitid(P_ALL, 0, &info, WEXITED | WSTOPPED | WNOWAIT | __WALL) != 0) {
        throw std::runtime_error("waitid failed");
      }
      const bool stopped = info.si_code == CLD_TRAPPED || info.si_code == CLD_STOPPED;
      if (!stopped && info.si_pid == pid_) return acted;  // wait() takes it in
      int status = 0;
      waitpid(info.si_pid, &status, __WALL);
      if (!WIFSTOPPED(status)) continue;  // a thread has ended
      const int signal = WSTOPSIG(status);
      if (signal == kCall && !acted && now()) {
        acted = true;
        act();
      }
      // The others are those that tracing makes: of execve, of new threads and of their beginning.
      const bool of_program = signal != kCall && signal != SIGTRAP && signal != SIGSTOP;
      if (!begun) {
        ptrace(PTRACE_SETOPTIONS, pid_, nullptr,
               PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACECLONE | PTRACE_O_EXITKILL);
        begun = true;
      }
      ptrace(acted ? PTRACE_CONT : PTRACE_SYSCALL, info.si_pid, nullptr, of_program ? signal : 0);
    }
  }

  Result wait() {
    Result result;
    int status = 0;
    rusage usage{};
    if (wait4(pid_, &status, 0, &usage) != pid_) throw std::runtime_error("wait4 failed");
    pid_ = -1;
    result.status = WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
    result.out = slurp(dir_ / "out");
    result.err = slurp(dir_ / "err");
    result.seconds =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
    const auto seconds_of = [](const timeval& time) {
      return static_cast<double>(time.tv_sec) + 1e-6 * static_cast<double>(time.tv_usec);
    };
    result.cpu_seconds = seconds_of(usage.ru_utime) + seconds_of(usage.ru_stime);
    result.max_resident_kib = usage.ru_maxrss;
    return result;
  }

 private:
  TempDir dir_;
  pid_t pid_ = -1;
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

inline std::vector<std::string> mixnmatch_argv(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), std::string(MNM_BINARY_DIR) + "/bin/mixnmatch");
  return arguments;
}

inline Result mixnmatch(std::vector<std::string> arguments) {
  return Running(mixnmatch_argv(std::move(arguments))).wait();
}

}  // namespace mnm::test
