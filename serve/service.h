// The part of a server that computes: it takes completions from any thread, and works on all of
// them together on one. It knows no network.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "engine/sequences.h"
#include "serve/api_error.h"
#include "serve/controller.h"
#include "serve/metrics.h"
#include "serve/model_list.h"
#include "serve/output_text.h"
#include "serve/scheduler.h"
#include "serve/words.h"

namespace mnm {

struct ServiceSettings {
  SchedulerLimits limits;
  std::int64_t waiting = 256;  // jobs that may wait
};

// The completions of one request.
struct Submission {
  std::vector<Job> jobs;
  std::vector<std::string> stop;
  bool echo = false;
  // The text goes on from the prompt's, and does not begin anew as the answer in a chat does.
  bool continues = true;
};

// What is new of one completion.
struct Update {
  std::int64_t index = 0;  // of the job in its submission
  OutputPiece output;
  std::string widths;  // that these tokens were computed at
  std::int64_t prompt_tokens = 0, completion_tokens = 0, cached_tokens = 0;
  std::optional<VerifiedDraft> verified;  // of a job with a draft
  double seconds = 0;                     // of the step that computed them
  std::optional<FinishReason> finish;
  // Why the completion ended without being finished: 400 if the limits do not allow it, 500 if
  // computing it failed, 503 if the server shut down.
  std::optional<ApiError> failure;
  bool ended() const { return finish.has_value() || failure.has_value(); }
};

using RequestId = std::uint64_t;

class CompletionService {
 public:
  // Called on the thread that works. It must return at once.
  using Sink = std::function<void(std::vector<Update>)>;

  // All references outlive it.
  CompletionService(const Words& words, const ModelList& models, const ServiceSettings& settings,
                    Metrics& metrics);

  // Any thread. ApiError 429 if too many jobs wait, 503 while draining.
  RequestId submit(Submission submission, Sink sink);
  // Any thread. Its sink may be called once more. Unknown ids are ignored.
  void cancel(RequestId request);
  // Any thread. Takes no more requests; work() returns when all are answered, or at `deadline`,
  // when those that are left have been told.
  void drain(std::chrono::steady_clock::time_point deadline);
  bool draining() const { return draining_; }  // waits for no lock

  // Computes, on the thread that may use `sequences`, until drained. `controller` has the levels of
  // the model list. `interrupted` is asked between steps: when it says so, drain() is called with
  // `patience` from then on.
  void work(Sequences& sequences, WidthController& controller,
            const std::function<bool()>& interrupted, std::chrono::seconds patience);

 private:
  using Clock = std::chrono::steady_clock;
  // One completion under way.
  struct Work {
    RequestId request = 0;
    std::int64_t index = 0;
    bool echo = false;
    std::vector<std::int64_t> prompt;  // until it has been told
    OutputText text;
    Clock::time_point came;
    std::optional<Clock::time_point> last_token;
  };
  struct Waiting {
    RequestId id = 0;
    Submission submission;
    Sink sink;
    Clock::time_point came;
  };
  using Updates = std::map<RequestId, std::vector<Update>>;

  bool take_work(Scheduler& scheduler, const std::function<bool()>& interrupted,
                 std::chrono::seconds patience);
  void begin(Scheduler& scheduler, Waiting waiting);
  void forget(Scheduler& scheduler, RequestId request);
  void step(Scheduler& scheduler, WidthController& controller);
  Update update_of(const JobEvent& event, Work& work);
  void deliver(Updates updates);
  // Tells all requests, and those that have only just come, that nothing more will.
  void fail_all(Scheduler& scheduler, const ApiError& reason);

  const Words& words_;
  const ModelList& models_;
  ServiceSettings settings_;
  Metrics& metrics_;

  mutable std::mutex mutex_;  // of the following
  std::condition_variable news_;
  std::vector<Waiting> arrived_;
  std::vector<RequestId> cancelled_;
  std::int64_t outstanding_ = 0;  // jobs that were taken and have not ended
  RequestId next_request_ = 1;
  std::optional<Clock::time_point> deadline_;  // set: draining

  std::atomic<bool> draining_ = false;

  // Of the thread that works.
  JobId next_job_ = 1;
  std::map<JobId, Work> work_;
  std::map<RequestId, Sink> sinks_;
};

}  // namespace mnm
