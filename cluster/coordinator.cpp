#include "cluster/coordinator.h"

#include <chrono>
#include <future>
#include <utility>

#include "model/error.h"

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

bool Coordinator::run(std::span<const Task> tasks, const Perform& perform,
                      const std::function<void(std::size_t, const std::string&)>& take,
                      const ShareSink& sink) {
  std::vector<double> flops;
  double total = 0;
  for (const Task& task : tasks) {
    flops.push_back(task.flops);
    total += task.flops;
  }
  const std::uint64_t first = std::exchange(first_number_, first_number_ + tasks.size());
  Scheduler scheduler(std::move(flops), post_.size(), seconds_now(), settings_);

  for (int rank = 1; rank < post_.size(); ++rank) {
    if (post_.silence(rank) > settings_.silence) scheduler.lose(rank);
  }
  for (const auto& [rank, said] : retired_) scheduler.retire(rank);
  const auto retire = [&](int rank, const std::string& said) {
    retired_[rank] = fmt::format("rank {}: {}", rank, said);
    say_(fmt::format("{}: it is given nothing more, and what it was at goes to others",
                     retired_[rank]));
    scheduler.retire(rank);
  };

  std::atomic<bool> stop = false;
  std::atomic<double> own_share = 0;
  std::future<std::string> own;
  struct StopOwn {  // whatever ends this, the thread does not outlive it
    std::atomic<bool>& stop;
    std::future<std::string>& own;
    ~StopOwn() {
      stop = true;
      if (own.valid()) own.wait();
    }
  } const stop_own{stop, own};

  while (!scheduler.finished()) {
    if (!scheduler.any_alive()) {
      throw DeviceLost(fmt::format("no rank is left to score; {}", retired_.at(0)));
    }
    for (int rank = 0; rank < post_.size(); ++rank) {
      const std::optional<std::size_t> next = scheduler.next(rank);
      if (!next) continue;
      const std::string& body = tasks[*next].body;
      if (rank > 0) {
        post_.send(rank, {Letter::Kind::kTask, first + *next, body});
        continue;
      }
      own_share = 0;
      own = std::async(std::launch::async, [&, body] {
        return perform(body, [&](double share) {
          own_share = share;
          return !stop;
        });
      });
    }
    if (const auto received = post_.wait(kPatience)) {
      const auto& [from, letter] = *received;
      // A task of an earlier run, from a rank that had been given up: it is idle now.
      const bool ours = letter.number >= first && letter.number - first < tasks.size();
      const std::size_t task = ours ? static_cast<std::size_t>(letter.number - first) : 0;
      if (letter.kind == Letter::Kind::kLost) retire(from, letter.body);
      if (ours && letter.kind == Letter::Kind::kFailed) {
        fail("rank {}: {}", from, letter.body);
      }
      if (ours && letter.kind == Letter::Kind::kResult &&
          scheduler.finish(from, task, seconds_now())) {
        take(task, letter.body);
      }
    }
    if (own.valid() && own.wait_for(Milliseconds(0)) == std::future_status::ready) {
      const std::size_t task = *scheduler.task_of(0);
      try {
        const std::string result = own.get();
        if (scheduler.finish(0, task, seconds_now())) take(task, result);
      } catch (const DeviceLost& error) {
        retire(0, error.what());
      }
    }
    double done = scheduler.flops_done();
    for (int rank = 0; rank < post_.size(); ++rank) {
      const double silence = rank == 0 ? 0 : post_.silence(rank);
      if (silence < settings_.silence) scheduler.heard(rank, seconds_now() - silence);
      if (const auto task = scheduler.task_of(rank); task && scheduler.alive(rank)) {
        done += tasks[*task].flops * (rank == 0 ? own_share.load() : post_.share_of(rank));
      }
    }
    for (const int rank : scheduler.lose_silent(seconds_now())) {
      lost_ = true;
      say_(fmt::format(
          "rank {} was not heard of for {:.0f} seconds: what it was at is given to others", rank,
          settings_.silence));
    }
    if (!sink(total > 0 ? std::min(1.0, done / total) : 1.0)) return false;
  }
  return true;
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
      answer.body = perform(letter.body, [&](double share) {
        post.set_share(share);
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
