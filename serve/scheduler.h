// Continuous batching: which tokens of which requests the next step computes, at which widths.
// Pure: it runs over Sequences, and has no clock, no thread and no network.
//
// A job is one completion. It waits until there is room, then its prompt is computed in parts, then
// one token comes of each step. Jobs join and leave between any two steps. The start of a prompt
// that an earlier job computed at the same widths is taken over from its cache.
#pragma once

#include <cstdint>
#include <deque>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "engine/sequences.h"
#include "generate/speculative.h"
#include "serve/completion_response.h"
#include "serve/output_text.h"
#include "serve/running_job.h"
#include "serve/step_times.h"

namespace mnm {

struct SchedulerLimits {
  std::int64_t context = 0;     // positions that the model has
  std::int64_t vocabulary = 0;  // tokens
  std::int64_t running = 64;    // jobs that are computed together
  std::int64_t positions = 0;   // tokens that all caches hold together
  // Where a cache is a state, which does not grow with its tokens: so many tokens it counts as. A
  // sequence that can take tokens back has a state for each of them, too. 0: caches grow.
  std::int64_t state_positions = 0;
};

// What a step did for one job.
struct JobEvent {
  JobId job = 0;
  std::string widths;                     // at which the step computed it
  std::int64_t prompt_tokens = 0;         // of its prompt, that are done with this step
  std::int64_t cached_tokens = 0;         // of these, that were taken over
  std::vector<ScoredToken> prompt;        // scores of these tokens, if they were asked for
  std::optional<ScoredToken> token;       // the new token
  std::optional<VerifiedDraft> verified;  // of a job with a draft
  bool is_end = false;                    // the new token ended the text, and is no part of it
  std::optional<FinishReason> finish;     // the job is done
  std::string failure;                    // the job is done because of this
};

// A step as data.
struct StepPlan {
  struct Part {
    JobId job = 0;
    std::vector<std::int64_t> tokens;
    std::shared_ptr<const Widths> widths;
    bool every_position = false, settled = false;  // as Feed's
  };
  std::vector<Part> parts;
  StepLoad load;
};

class Scheduler {
 public:
  // `sequences` outlives it.
  Scheduler(Sequences& sequences, const SchedulerLimits& limits);
  ~Scheduler();

  // The job waits until there is room for it. Error unless the limits allow it at all.
  void add(JobId id, Job job);
  // Ends a job, wherever it is. Unknown ids are ignored.
  void remove(JobId id);

  bool idle() const { return waiting_.empty() && running_.empty(); }
  std::int64_t waiting() const { return static_cast<std::int64_t>(waiting_.size()); }
  std::int64_t running() const { return static_cast<std::int64_t>(running_.size()); }
  std::int64_t positions() const;  // that running jobs may need and kept caches hold

  // Lets waiting jobs in. `elastic`: the widths that elastic jobs run at.
  void admit(const Widths& elastic);
  // What a step would compute that gives each running job its next token: the rows of a job with a
  // draft are its proposals and one more.
  StepLoad fixed_load() const;
  std::int64_t elastic_rows() const;
  // Of these, the jobs whose prompts are done: who waits for a token now.
  StepLoad token_load(double elastic_flops) const;
  // FLOPs per token of the widest prompt that is under way; `elastic_flops` where there is none.
  double prompt_flops(double elastic_flops) const;

  // The next step: a token of each job whose prompt is done, and at most `prompt_rows` tokens of
  // prompts. `elastic_flops`: per token at the widths `elastic`.
  StepPlan plan(const Widths& elastic, double elastic_flops, std::int64_t prompt_rows) const;
  // Runs it. Events are in the order of the plan. Jobs that are done are gone when it returns.
  std::vector<JobEvent> run(const StepPlan& plan);

 private:
  struct Start;
  Start best_start(const Job& job, const Widths& widths) const;
  bool make_room(std::int64_t positions);
  // In positions: a sequence of so many tokens, one that is there, what a job may come to need.
  std::int64_t size_of(std::int64_t tokens, std::int64_t take_back) const;
  std::int64_t size_of(const CachedSequence& cached) const;
  std::int64_t need(const Job& job) const;
  void let_in(JobId id, Job job, const Start& start);
  void discard(JobId id);
  void keep_cache(RunningJob& running);
  bool serves(const CachedSequence& cached, const Job& job) const;
  void advance(RunningJob& running, const StepPlan::Part& part, std::span<const float> logits,
               JobEvent& event);
  void verify(RunningJob& running, std::span<const float> logits, JobEvent& event);
  void pick_token(RunningJob& running, std::span<const float> logits, JobEvent& event);
  std::vector<JobEvent> fail_all(const StepPlan& plan, const std::string& reason);

  Sequences& sequences_;
  SchedulerLimits limits_;
  std::deque<std::pair<JobId, Job>> waiting_;
  std::map<JobId, RunningJob> running_;  // by id, so in the order of their arrival
  std::list<CachedSequence> kept_;       // caches of jobs that are done, the latest used last
};

// The token `id` with the log of the softmax of the logits, in double. Error if they are no
// numbers.
ScoredToken scored(std::span<const float> logits, std::int64_t id,
                   const std::optional<std::int64_t>& alternatives);

}  // namespace mnm
