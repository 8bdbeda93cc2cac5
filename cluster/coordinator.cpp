#include "cluster/coordinator.h"

#include <atomic>
#include <chrono>
#include <future>
#include <utility>

#include "base/error.h"

namespace mnm {
namespace {

using Milliseconds = std::chrono::milliseconds;
constexpr Milliseconds kPatience(20);  // between two looks at clocks and at this rank's own task

double seconds_now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

}  // namespace

Coordinator::Coordinator(Post& post, std::function<void(const std::string&)> say,
                         SchedulerSettings settings)
    : post_(post), say_(std::move(say)), settings_(settings) {}

Coordinator::~Coordinator() {
  for (int rank = 1; rank < post_.size(); ++rank) {
    lost_ = lost_ || post_.silence(rank) > settings_.silence;
  }
  for (int rank = 1; rank < post_.size(); ++rank) {
    post_.send(rank, {Letter::Kind::kStop, lost_ ? 0u : 1u, {}});
  }
  if (!lost_) post_.leave();
}

// The tasks of one call of run: they are handed out, and what comes of them is taken, until all are
// done.
class Coordinator::Run {
 public:
  Run(Coordinator& coordinator, std::span<const Task> tasks, const Perform& perform,
      const Take& take)
      : coordinator_(coordinator),
        post_(coordinator.post_),
        tasks_(tasks),
        perform_(perform),
        take_(take),
        first_(std::exchange(coordinator.first_number_, coordinator.first_number_ + tasks.size())),
        scheduler_(flops_of(tasks), post_.size(), seconds_now(), coordinator.settings_) {
    for (const Task& task : tasks) total_ += task.flops;
    for (int rank = 1; rank < post_.size(); ++rank) {
      if (post_.silence(rank) > coordinator.settings_.silence) scheduler_.lose(rank);
    }
    for (const auto& [rank, said] : coordinator.retired_) scheduler_.retire(rank);
  }
  Run(const Run&) = delete;
  Run& operator=(const Run&) = delete;
  ~Run() {  // whatever ends it, this rank's thread does not outlive it
    stop_ = true;
    if (own_.valid()) own_.wait();
  }

  void until_done(const ProgressSink& progress) {
    while (!scheduler_.finished()) {
      hand_out();
      receive();
      take_own();
      listen();
      if (progress && !progress({flops_done(), total_})) throw Stopped();
    }
  }

 private:
  static std::vector<double> flops_of(std::span<const Task> tasks) {
    std::vector<double> flops;
    for (const Task& task : tasks) flops.push_back(task.flops);
    return flops;
  }

  // A task to every rank that has none.
  void hand_out() {
    if (!scheduler_.any_alive()) {
      throw DeviceLost(fmt::format("no rank is left to score; {}", coordinator_.retired_.at(0)));
    }
    for (int rank = 0; rank < post_.size(); ++rank) {
      const std::optional<std::size_t> next = scheduler_.next(rank);
      if (!next) continue;
      if (rank == 0) {
        begin_own(tasks_[*next].body);
      } else {
        post_.send(rank, {Letter::Kind::kTask, first_ + *next, tasks_[*next].body});
      }
    }
  }

  void begin_own(const std::string& body) {
    own_share_ = 0;
    own_ = std::async(std::launch::async, [this, body] {
      return perform_(body, [this](const Progress& progress) {
        own_share_ = progress.share();
        return !stop_;
      });
    });
  }

  // One letter, or none where none comes for a while.
  void receive() {
    const auto received = post_.wait(kPatience);
    if (!received) return;
    const auto& [from, letter] = *received;
    // A task of an earlier run, from a rank that had been given up: it is idle now.
    const bool ours = letter.number >= first_ && letter.number - first_ < tasks_.size();
    const std::size_t task = ours ? static_cast<std::size_t>(letter.number - first_) : 0;
    if (letter.kind == Letter::Kind::kLost) retire(from, letter.body);
    if (ours && letter.kind == Letter::Kind::kFailed) fail("rank {}: {}", from, letter.body);
    if (ours && letter.kind == Letter::Kind::kResult &&
        scheduler_.finish(from, task, seconds_now())) {
      take_(task, letter.body);
    }
  }

  // What this rank's own thread has made, where it is ready.
  void take_own() {
    if (!own_.valid() || own_.wait_for(Milliseconds(0)) != std::future_status::ready) return;
    const std::size_t task = *scheduler_.task_of(0);
    try {
      const std::string result = own_.get();
      if (scheduler_.finish(0, task, seconds_now())) take_(task, result);
    } catch (const DeviceLost& error) {
      retire(0, error.what());
    }
  }

  // Which ranks are still heard of; the silent ones are lost.
  void listen() {
    const double patience = coordinator_.settings_.silence;
    for (int rank = 0; rank < post_.size(); ++rank) {
      const double silence = rank == 0 ? 0 : post_.silence(rank);
      if (silence < patience) scheduler_.heard(rank, seconds_now() - silence);
    }
    for (const int rank : scheduler_.lose_silent(seconds_now())) {
      coordinator_.lost_ = true;
      coordinator_.say_(fmt::format(
          "rank {} was not heard of for {:.0f} seconds: what it was at is given to others", rank,
          patience));
    }
  }

  // With the parts that are done of the tasks under way.
  double flops_done() const {
    double done = scheduler_.flops_done();
    for (int rank = 0; rank < post_.size(); ++rank) {
      const auto task = scheduler_.task_of(rank);
      if (!task || !scheduler_.alive(rank)) continue;
      done += tasks_[*task].flops * (rank == 0 ? own_share_.load() : post_.share_of(rank));
    }
    return done;
  }

  void retire(int rank, const std::string& said) {
    std::string& why = coordinator_.retired_[rank];
    why = fmt::format("rank {}: {}", rank, said);
    coordinator_.say_(
        fmt::format("{}: it is given nothing more, and what it was at goes to others", why));
    scheduler_.retire(rank);
  }

  Coordinator& coordinator_;
  Post& post_;
  const std::span<const Task> tasks_;
  const Perform& perform_;
  const Take& take_;
  const std::uint64_t first_;  // number of the first task
  TaskScheduler scheduler_;
  double total_ = 0;  // FLOPs
  std::atomic<bool> stop_ = false;
  std::atomic<double> own_share_ = 0;
  std::future<std::string> own_;
};

void Coordinator::run(std::span<const Task> tasks, const Perform& perform, const Take& take,
                      const ProgressSink& progress) {
  Run(*this, tasks, perform, take).until_done(progress);
}

void serve(Post& post, const Perform& perform, double silence) {
  while (!post.stopped()) {
    const auto received = post.wait(kPatience);
    if (!received) {
      if (post.silence(0) <= silence) continue;
      fail("rank 0 was not heard of for {:.0f} seconds: this rank ends", silence);
    }
    const Letter& letter = received->letter;
    if (letter.kind != Letter::Kind::kTask) continue;
    Letter answer{Letter::Kind::kResult, letter.number, {}};
    try {
      answer.body = perform(letter.body, [&](const Progress& progress) {
        post.set_share(progress.share());
        return !post.stopped();
      });
    } catch (const DeviceLost& error) {
      answer.kind = Letter::Kind::kLost;
      answer.body = error.what();
    } catch (const std::exception& error) {
      if (post.stopped()) break;
      answer.kind = Letter::Kind::kFailed;
      answer.body = error.what();
    }
    post.set_share(0);
    post.send(0, std::move(answer));
  }
  if (post.all_leave()) post.leave();
}

}  // namespace mnm
