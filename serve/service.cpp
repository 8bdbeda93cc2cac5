#include "serve/service.h"

#include <algorithm>

#include "base/error.h"

namespace mnm {
namespace {

using Clock = std::chrono::steady_clock;

// How long the thread that works sleeps at most where there is nothing to do: an interruption is
// seen within it.
constexpr std::chrono::milliseconds kNap{20};

ApiError shutting_down(const char* sentence) { return {503, "", "shutting_down", sentence}; }
ApiError failed(const std::string& reason) { return {500, "", "failed", reason}; }

double seconds_between(Clock::time_point from, Clock::time_point to) {
  return std::chrono::duration<double>(to - from).count();
}

void append(OutputPiece& to, OutputPiece from) {
  to.text += from.text;
  std::ranges::move(from.tokens, std::back_inserter(to.tokens));
  std::ranges::move(from.text_offsets, std::back_inserter(to.text_offsets));
  to.stopped = to.stopped || from.stopped;
}

}  // namespace

CompletionService::CompletionService(const Words& words, const ModelList& models,
                                     const ServiceSettings& settings, Metrics& metrics)
    : words_(words), models_(models), settings_(settings), metrics_(metrics) {}

RequestId CompletionService::submit(Submission submission, Sink sink) {
  const auto jobs = static_cast<std::int64_t>(submission.jobs.size());
  const std::lock_guard lock(mutex_);
  if (deadline_) throw shutting_down("the server is shutting down: it takes no more requests");
  const std::int64_t most = settings_.limits.running + settings_.waiting;
  if (jobs > most) {
    metrics_.refused();
    throw ApiError(400, "", "too_many_completions",
                   fmt::format("the request asks for {} completions, and this server takes at most "
                               "{}, those of all requests together",
                               jobs, most));
  }
  if (outstanding_ + jobs > most) {
    metrics_.refused();
    throw ApiError(
        429, "", "queue_full",
        fmt::format("{} completions are under way or wait, and at most {} may: try again "
                    "later",
                    outstanding_, most));
  }
  outstanding_ += jobs;
  const RequestId id = next_request_++;
  arrived_.push_back({id, std::move(submission), std::move(sink), Clock::now()});
  news_.notify_one();
  return id;
}

void CompletionService::cancel(RequestId request) {
  const std::lock_guard lock(mutex_);
  cancelled_.push_back(request);
  news_.notify_one();
}

void CompletionService::drain(Clock::time_point deadline) {
  const std::lock_guard lock(mutex_);
  if (!deadline_) deadline_ = deadline;
  draining_ = true;
  news_.notify_one();
}

// Takes what came and forgets what was cancelled. Waits a little if there is nothing to compute.
// False: everything is answered, and nothing more will come.
bool CompletionService::take_work(Scheduler& scheduler, const std::function<bool()>& interrupted,
                                  std::chrono::seconds patience) {
  if (interrupted()) drain(Clock::now() + patience);
  std::vector<Waiting> arrived;
  std::vector<RequestId> cancelled;
  bool draining = false, late = false;
  {
    std::unique_lock lock(mutex_);
    if (scheduler.idle()) {
      news_.wait_for(lock, kNap,
                     [&] { return !arrived_.empty() || !cancelled_.empty() || deadline_; });
    }
    arrived.swap(arrived_);
    cancelled.swap(cancelled_);
    draining = deadline_.has_value();
    late = draining && Clock::now() >= *deadline_;
  }
  for (Waiting& one : arrived) begin(scheduler, std::move(one));
  for (const RequestId id : cancelled) forget(scheduler, id);
  if (late) {
    fail_all(scheduler,
             shutting_down("the server is shutting down, and the answer was not finished in time"));
  }
  return !(draining && scheduler.idle());
}

void CompletionService::begin(Scheduler& scheduler, Waiting waiting) {
  Updates refused = {{waiting.id, {}}};
  std::int64_t index = 0;
  for (Job& job : waiting.submission.jobs) {
    std::optional<TokenDecoder> decoder;
    if (words_.tokenizer) decoder.emplace(words_.tokenizer->decoder());
    Work work{waiting.id,
              index,
              waiting.submission.echo,
              waiting.submission.continues ? job.prompt : std::vector<std::int64_t>{},
              OutputText(std::move(decoder), waiting.submission.stop),
              waiting.came,
              std::nullopt};
    const JobId id = next_job_++;
    try {
      scheduler.add(id, std::move(job));
      work_.emplace(id, std::move(work));
    } catch (const Error& error) {
      Update update;
      update.index = index;
      update.failure = ApiError(400, "", "", error.what());
      refused[waiting.id].push_back(std::move(update));
    }
    ++index;
  }
  sinks_.emplace(waiting.id, std::move(waiting.sink));
  {
    const std::lock_guard lock(mutex_);
    outstanding_ -= static_cast<std::int64_t>(refused[waiting.id].size());
  }
  deliver(std::move(refused));
}

void CompletionService::forget(Scheduler& scheduler, RequestId request) {
  if (sinks_.erase(request) == 0) return;
  metrics_.cancelled();
  std::int64_t ended = 0;
  for (auto work = work_.begin(); work != work_.end();) {
    if (work->second.request != request) {
      ++work;
      continue;
    }
    scheduler.remove(work->first);
    work = work_.erase(work);
    ++ended;
  }
  const std::lock_guard lock(mutex_);
  outstanding_ -= ended;
}

void CompletionService::work(Sequences& sequences, WidthController& controller,
                             const std::function<bool()>& interrupted,
                             std::chrono::seconds patience) {
  Scheduler scheduler(sequences, settings_.limits);
  // All blocks of all caches are gone through to add them up, so not after every step.
  std::uint64_t cached = 0;
  Clock::time_point counted{};
  bool was_idle = false;
  try {
    while (take_work(scheduler, interrupted, patience)) {
      if (scheduler.idle()) {
        controller.idle();
      } else {
        step(scheduler, controller);
      }
      const Clock::time_point now = Clock::now();
      if (scheduler.idle() != was_idle || now - counted > std::chrono::seconds(1)) {
        cached = sequences.cache_bytes();
        counted = now;
        was_idle = scheduler.idle();
      }
      metrics_.set({scheduler.running(), scheduler.waiting(), scheduler.positions(), cached,
                    static_cast<std::int64_t>(controller.level())});
    }
  } catch (const std::exception& error) {
    drain(Clock::now());
    fail_all(scheduler, failed(error.what()));
    sinks_.clear();
    throw;
  }
  sinks_.clear();
}

void CompletionService::step(Scheduler& scheduler, WidthController& controller) {
  scheduler.admit(*models_.levels()[controller.level()].widths);
  const StepLoad fixed = scheduler.fixed_load();
  const std::int64_t elastic = scheduler.elastic_rows();
  const ServedModel& level = models_.levels()[controller.choose(fixed, elastic)];
  const auto flops = static_cast<double>(level.cost.flops);
  const std::int64_t prompt_rows =
      controller.prompt_rows(scheduler.token_load(flops), scheduler.prompt_flops(flops));
  const StepPlan plan = scheduler.plan(*level.widths, flops, prompt_rows);
  const Clock::time_point start = Clock::now();
  const std::vector<JobEvent> events = scheduler.run(plan);
  const double seconds = seconds_between(start, Clock::now());
  controller.observe(plan.load, seconds);
  metrics_.step(seconds, plan.load.rows);

  Updates updates;
  std::int64_t ended = 0;
  for (const JobEvent& event : events) {
    const auto found = work_.find(event.job);
    Update update = update_of(event, found->second);
    update.seconds = seconds;
    metrics_.tokens(update.widths, update.prompt_tokens, update.completion_tokens);
    if (update.ended()) {
      if (!event.finish) scheduler.remove(event.job);  // a stop string ended it
      ++ended;
    }
    const bool done = update.ended();
    updates[found->second.request].push_back(std::move(update));
    if (done) work_.erase(found);
  }
  {
    const std::lock_guard lock(mutex_);
    outstanding_ -= ended;
  }
  deliver(std::move(updates));
}

Update CompletionService::update_of(const JobEvent& event, Work& work) {
  Update update;
  update.index = work.index;
  update.widths = event.widths;
  update.prompt_tokens = event.prompt_tokens;
  update.cached_tokens = event.cached_tokens;
  if (!event.failure.empty()) update.failure = failed(event.failure);
  update.finish = event.finish;
  update.verified = event.verified;
  if (event.verified) {
    update.completion_tokens = event.verified->accepted + 1;
    return update;
  }
  for (const ScoredToken& token : event.prompt) {  // they were scored
    append(update.output, work.text.feed_prompt(token, work.echo));
  }
  if (!event.prompt.empty()) work.prompt.clear();
  if (!event.token && !event.finish) return update;
  for (const std::int64_t id : work.prompt) {
    append(update.output, work.text.feed_prompt({id, 0, {}}, work.echo));
  }
  work.prompt.clear();
  if (!event.token) return update;
  const Clock::time_point now = Clock::now();
  if (work.last_token) {
    metrics_.token_gap(seconds_between(*work.last_token, now));
  } else {
    metrics_.first_token(seconds_between(work.came, now));
  }
  work.last_token = now;
  update.completion_tokens = 1;
  if (!event.is_end) append(update.output, work.text.feed(*event.token));
  if (!update.output.stopped && update.finish) append(update.output, work.text.finish());
  if (update.output.stopped) update.finish = FinishReason::kStop;
  return update;
}

void CompletionService::deliver(Updates updates) {
  for (auto& [request, list] : updates) {
    const auto found = sinks_.find(request);
    if (found == sinks_.end() || list.empty()) continue;
    found->second(std::move(list));
    const bool more =
        std::ranges::any_of(work_, [&](const auto& one) { return one.second.request == request; });
    if (!more) sinks_.erase(request);
  }
}

void CompletionService::fail_all(Scheduler& scheduler, const ApiError& reason) {
  std::vector<Waiting> arrived;
  {
    const std::lock_guard lock(mutex_);
    arrived.swap(arrived_);
  }
  for (Waiting& one : arrived) begin(scheduler, std::move(one));
  Updates updates;
  for (const auto& [id, work] : work_) {
    Update update;
    update.index = work.index;
    update.failure = reason;
    updates[work.request].push_back(std::move(update));
    scheduler.remove(id);
  }
  work_.clear();
  deliver(std::move(updates));
}

}  // namespace mnm
