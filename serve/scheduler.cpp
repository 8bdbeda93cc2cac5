#include "serve/scheduler.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <tuple>

#include "base/error.h"

namespace mnm {
namespace {

// A start that is shorter is computed anew: taking it over costs as much.
constexpr std::int64_t kShortestStart = 16;

// Logits of the parts of one step that ask for those at every position take at most this much.
constexpr std::int64_t kScoredBytes = 64 << 20;

}  // namespace

// Where a prompt's computation starts.
struct Scheduler::Start {
  const CachedSequence* from = nullptr;  // null: at the beginning
  std::int64_t position = 0;
  bool worth_waiting = false;  // a running job is about to have a longer start
};

Scheduler::Scheduler(Sequences& sequences, const SchedulerLimits& limits)
    : sequences_(sequences), limits_(limits) {}

Scheduler::~Scheduler() {
  for (auto& [id, running] : running_) sequences_.close(running.cache.sequence);
  for (const CachedSequence& cached : kept_) sequences_.close(cached.sequence);
}

std::int64_t Scheduler::size_of(std::int64_t tokens, std::int64_t take_back) const {
  const std::int64_t block = sequences_.cache_block();
  const std::int64_t in_blocks = (tokens + block - 1) / block * block;
  const std::int64_t states = limits_.state_positions * (1 + take_back);
  return std::max(tokens, std::min(std::max(in_blocks, states), limits_.positions));
}

std::int64_t Scheduler::size_of(const CachedSequence& cached) const {
  return size_of(std::ssize(cached.tokens), cached.take_back);
}

std::int64_t Scheduler::need(const Job& job) const {
  // The last token is told and not fed.
  const std::int64_t more = std::max<std::int64_t>(0, job.max_tokens - 1);
  const auto prompt = static_cast<std::int64_t>(job.prompt.size());
  return size_of(prompt + std::min(more, limits_.context - prompt), job.take_back());
}

void Scheduler::add(JobId id, Job job) {
  const auto prompt = static_cast<std::int64_t>(job.prompt.size());
  if (prompt == 0) fail("the prompt is empty: at least one token is needed to go on from");
  if (prompt > limits_.context) {
    fail("the prompt has {} tokens, and the model {} positions", prompt, limits_.context);
  }
  for (const std::int64_t token : job.prompt) {
    if (token < 0 || token >= limits_.vocabulary) {
      fail("the prompt has token {}, outside the vocabulary of {}", token, limits_.vocabulary);
    }
  }
  if (need(job) > limits_.positions) {
    fail("the prompt and its continuation take {} positions, and the server's caches hold {}",
         need(job), limits_.positions);
  }
  waiting_.emplace_back(id, std::move(job));
}

void Scheduler::remove(JobId id) {
  std::erase_if(waiting_, [&](const auto& entry) { return entry.first == id; });
  const auto found = running_.find(id);
  if (found == running_.end()) return;
  keep_cache(found->second);
  running_.erase(found);
}

std::int64_t Scheduler::positions() const {
  std::int64_t sum = 0;
  for (const auto& [id, running] : running_) sum += running.reserved;
  for (const CachedSequence& cached : kept_) sum += size_of(cached);
  return sum;
}

// Whether a job can go on in a copy of this cache: it must be able to take back as much as the job
// may want to, and its states must have room in what the job reserves.
bool Scheduler::serves(const CachedSequence& cached, const Job& job) const {
  if (limits_.state_positions > 0 && cached.take_back > job.take_back()) return false;
  const auto length = static_cast<std::int64_t>(cached.tokens.size());
  return cached.take_back >= job.take_back() || sequences_.reaches(cached.sequence, length - 1);
}

Scheduler::Start Scheduler::best_start(const Job& job, const Widths& widths) const {
  Start best;
  if (job.score_prompt) return best;  // its logits are asked for, and no cache has them
  // What is in doubt is left to compute, or one token: the logits after the prompt are those of its
  // last token.
  const auto computed = static_cast<std::size_t>(std::max<std::int64_t>(1, job.in_doubt()));
  const std::span<const std::int64_t> prompt(job.prompt.data(), job.prompt.size() - computed);
  const auto consider = [&](const CachedSequence& cached) {
    const std::int64_t common = cached.common(prompt, widths);
    if (common < kShortestStart || common <= best.position || !serves(cached, job)) return;
    if (sequences_.reaches(cached.sequence, common)) best = {&cached, common, false};
  };
  for (const CachedSequence& cached : kept_) consider(cached);
  for (const auto& [id, running] : running_) consider(running.cache);
  for (const auto& [id, running] : running_) {
    if (running.prompt_left() == 0 || running.job.widths != job.widths) continue;
    const auto fed = static_cast<std::int64_t>(running.cache.tokens.size());
    if (fed > 0 && !sequences_.reaches(running.cache.sequence, fed - 1)) continue;  // a state
    const std::int64_t common = common_start(prompt, running.job.prompt);
    best.worth_waiting = best.worth_waiting || (common >= kShortestStart && common > best.position);
  }
  return best;
}

// Closes kept caches, the least recently used first, until so many positions are free.
bool Scheduler::make_room(std::int64_t wanted) {
  std::int64_t used = positions();
  while (used + wanted > limits_.positions && !kept_.empty()) {
    used -= size_of(kept_.front());
    sequences_.close(kept_.front().sequence);
    kept_.pop_front();
  }
  return used + wanted <= limits_.positions;
}

void Scheduler::let_in(JobId id, Job job, const Start& start) {
  CachedSequence cache;
  if (start.from != nullptr) {
    cache.sequence = sequences_.fork(start.from->sequence, start.position);
    cache.take_back = start.from->take_back;
    const auto first = start.from->tokens.begin();
    cache.tokens.assign(first, first + start.position);
    cache.runs = {{static_cast<std::size_t>(start.position), start.from->runs.front().second}};
  } else {
    cache.take_back = job.take_back();
    cache.sequence = sequences_.open({.context = limits_.context, .take_back = cache.take_back});
  }
  const std::int64_t reserved = need(job);
  running_.emplace(std::piecewise_construct, std::forward_as_tuple(id),
                   std::forward_as_tuple(id, std::move(job), std::move(cache), reserved));
}

void Scheduler::admit(const Widths& elastic) {
  for (auto next = waiting_.begin(); next != waiting_.end();) {
    if (running() >= limits_.running) return;
    Job& job = next->second;
    const Widths& widths = job.widths ? *job.widths : elastic;
    Start start = best_start(job, widths);
    if (start.worth_waiting) {
      ++next;
      continue;
    }
    // In order: a long job is not overtaken by short ones for ever. Making room may close the very
    // cache that it would start from, so that is used first.
    const auto used =
        std::ranges::find(kept_, start.from, [](const CachedSequence& c) { return &c; });
    if (used != kept_.end()) kept_.splice(kept_.end(), kept_, used);
    if (!make_room(need(job))) return;
    start = best_start(job, widths);
    let_in(next->first, std::move(job), start);
    next = waiting_.erase(next);
  }
}

StepLoad Scheduler::fixed_load() const {
  StepLoad load;
  for (const auto& [id, running] : running_) {
    if (!running.widths) continue;
    const std::int64_t rows = std::max<std::int64_t>(1, running.job.in_doubt());
    load = load + StepLoad{rows, static_cast<double>(rows) * running.job.flops};
  }
  return load;
}

std::int64_t Scheduler::elastic_rows() const {
  return std::ranges::count_if(running_, [](const auto& one) { return !one.second.widths; });
}

StepLoad Scheduler::token_load(double elastic_flops) const {
  StepLoad load;
  for (const auto& [id, running] : running_) {
    if (running.prompt_left() > running.job.in_doubt()) continue;
    const std::int64_t rows = std::max<std::int64_t>(1, running.job.in_doubt());
    const double flops = running.widths ? running.job.flops : elastic_flops;
    load = load + StepLoad{rows, static_cast<double>(rows) * flops};
  }
  return load;
}

double Scheduler::prompt_flops(double elastic_flops) const {
  double most = 0;
  for (const auto& [id, running] : running_) {
    if (running.prompt_left() <= running.job.in_doubt()) continue;
    most = std::max(most, running.widths ? running.job.flops : elastic_flops);
  }
  return most > 0 ? most : elastic_flops;
}

StepPlan Scheduler::plan(const Widths& elastic, double elastic_flops,
                         std::int64_t prompt_rows) const {
  StepPlan plan;
  const auto shared = std::make_shared<const Widths>(elastic);
  const std::int64_t most_scored =
      kScoredBytes / (std::max<std::int64_t>(1, limits_.vocabulary) * std::int64_t{sizeof(float)});
  std::int64_t scored = 0;  // rows
  for (const auto& [id, running] : running_) {
    StepPlan::Part part{id, {}, running.widths ? running.widths : shared};
    const std::int64_t left = running.prompt_left(), in_doubt = running.job.in_doubt();
    // The first goes ahead whatever it takes: nobody waits for ever.
    const std::int64_t scorable = std::max<std::int64_t>(scored == 0 ? 1 : 0, most_scored - scored);
    if (left > 0 && left == in_doubt) {  // in one step, as the token of another job is
      if (scored > 0 && left > scorable) continue;
      part.every_position = true;
      part.tokens.assign(running.job.prompt.end() - left, running.job.prompt.end());
    } else if (left > 0) {
      part.every_position = running.job.score_prompt;
      part.settled = in_doubt > 0;
      const std::int64_t rows =
          std::min({left - in_doubt, prompt_rows, part.every_position ? scorable : left});
      if (rows == 0) continue;
      prompt_rows -= rows;
      const auto first =
          running.job.prompt.begin() + static_cast<std::ptrdiff_t>(running.cache.tokens.size());
      part.tokens.assign(first, first + rows);
    } else {
      part.tokens = {running.next.value()};
    }
    const auto rows = static_cast<std::int64_t>(part.tokens.size());
    if (part.every_position) scored += rows;
    const double flops = running.widths ? running.job.flops : elastic_flops;
    plan.load = plan.load + StepLoad{rows, static_cast<double>(rows) * flops};
    plan.parts.push_back(std::move(part));
  }
  return plan;
}

std::vector<JobEvent> Scheduler::run(const StepPlan& plan) {
  std::vector<Feed> feeds;
  for (const StepPlan::Part& part : plan.parts) {
    feeds.push_back({running_.at(part.job).cache.sequence, *part.widths, part.tokens,
                     part.every_position, part.settled});
  }
  std::vector<std::span<const float>> logits;
  try {
    logits = sequences_.step(feeds);
  } catch (const DeviceLost&) {
    throw;
  } catch (const Error& error) {
    return fail_all(plan, error.what());
  }
  std::vector<JobEvent> events;
  for (std::size_t i = 0; i < plan.parts.size(); ++i) {
    const StepPlan::Part& part = plan.parts[i];
    RunningJob& running = running_.at(part.job);
    JobEvent event;
    event.job = part.job;
    event.widths = to_string(*part.widths);
    try {
      advance(running, part, logits[i], event);
    } catch (const Error& error) {
      event.failure = error.what();
    }
    const bool failed = !event.failure.empty(), done = event.finish.has_value();
    events.push_back(std::move(event));
    if (failed) {
      discard(part.job);
    } else if (done) {
      remove(part.job);
    }
  }
  return events;
}

// A step that threw leaves sequences that can only be closed.
std::vector<JobEvent> Scheduler::fail_all(const StepPlan& plan, const std::string& reason) {
  std::vector<JobEvent> events;
  for (const StepPlan::Part& part : plan.parts) {
    JobEvent event;
    event.job = part.job;
    event.widths = to_string(*part.widths);
    event.failure = reason;
    events.push_back(std::move(event));
    discard(part.job);
  }
  return events;
}

// Nothing goes on from the cache of a job that failed.
void Scheduler::discard(JobId id) {
  sequences_.close(running_.at(id).cache.sequence);
  running_.erase(id);
}

void Scheduler::keep_cache(RunningJob& running) {
  if (std::ssize(running.cache.tokens) < kShortestStart) {  // no job starts from it
    sequences_.close(running.cache.sequence);
    return;
  }
  // A cache that is the start of this one, and that this one can be taken back to, is not needed.
  std::erase_if(kept_, [&](const CachedSequence& kept) {
    const auto length = static_cast<std::int64_t>(kept.tokens.size());
    const bool needless = kept.runs.size() == 1 &&
                          running.cache.common(kept.tokens, *kept.runs.front().second) == length &&
                          running.cache.take_back >= kept.take_back &&
                          sequences_.reaches(running.cache.sequence, length);
    if (needless) sequences_.close(kept.sequence);
    return needless;
  });
  kept_.push_back(std::move(running.cache));
}

void Scheduler::advance(RunningJob& running, const StepPlan::Part& part,
                        std::span<const float> logits, JobEvent& event) {
  const auto rows = static_cast<std::int64_t>(part.tokens.size());
  const bool of_prompt = running.prompt_left() > 0;
  const std::size_t before = running.cache.tokens.size();
  running.cache.append(part.tokens, part.widths);
  const auto vocabulary = static_cast<std::size_t>(limits_.vocabulary);
  if (of_prompt) {
    event.cached_tokens = running.told ? 0 : running.taken_over;
    event.prompt_tokens = rows + event.cached_tokens;
    running.told = true;
  }
  if (running.job.score_prompt && part.every_position) {
    // The logits at a token are about the one after it; nothing is known of the first.
    if (before == 0) {
      event.prompt.push_back({part.tokens.front(), std::numeric_limits<double>::quiet_NaN(), {}});
    }
    for (std::size_t i = 0; i < part.tokens.size(); ++i) {
      const std::size_t next = before + i + 1;
      if (next == running.job.prompt.size()) break;
      event.prompt.push_back(scored(logits.subspan(i * vocabulary, vocabulary),
                                    running.job.prompt[next], running.job.alternatives));
    }
  }
  if (running.prompt_left() > 0) return;
  if (running.job.draft) {
    verify(running, logits, event);
    return;
  }
  if (running.job.max_tokens == 0) {
    event.finish = FinishReason::kLength;
    return;
  }
  pick_token(running, logits.last(vocabulary), event);
}

void Scheduler::verify(RunningJob& running, std::span<const float> logits, JobEvent& event) {
  const std::vector<Proposal>& draft = *running.job.draft;
  std::vector<std::int64_t> tokens;
  for (const Proposal& proposal : draft) tokens.push_back(proposal.token);
  std::vector<double> from;
  const auto drawn_from = [&](std::size_t i) -> std::span<const double> {
    return from = draft[i].distribution(limits_.vocabulary);
  };
  event.verified = verify_draft(logits, tokens, drawn_from, running.sampler, running.random);
  event.finish = FinishReason::kLength;
  // The next request goes on from what was accepted.
  const std::size_t read =
      running.job.prompt.size() - draft.size() + static_cast<std::size_t>(event.verified->accepted);
  sequences_.rewind(running.cache.sequence, static_cast<std::int64_t>(read));
  running.cache.shorten(read);
}

void Scheduler::pick_token(RunningJob& running, std::span<const float> logits, JobEvent& event) {
  const std::int64_t id = running.sampler.pick(logits, running.random.uniform());
  event.token = running.job.alternatives ? scored(logits, id, running.job.alternatives)
                                         : ScoredToken{id, 0, {}};
  running.next = id;
  ++running.generated;
  event.is_end = running.job.ends.contains(id);
  if (event.is_end) {
    event.finish = FinishReason::kStop;
  } else if (running.generated >= running.job.max_tokens ||
             static_cast<std::int64_t>(running.cache.tokens.size()) >= limits_.context) {
    event.finish = FinishReason::kLength;
  }
}

ScoredToken scored(std::span<const float> logits, std::int64_t id,
                   const std::optional<std::int64_t>& alternatives) {
  ScoredToken token{id, 0, {}};
  double most = -std::numeric_limits<double>::infinity(), sum = 0;
  for (const float logit : logits) most = std::max(most, static_cast<double>(logit));
  for (const float logit : logits) sum += std::exp(static_cast<double>(logit) - most);
  const double log_sum = most + std::log(sum);
  if (!std::isfinite(log_sum))
    fail("the model's logits are no numbers: no token has a probability");
  const auto logprob = [&](std::int64_t of) {
    return static_cast<double>(logits[static_cast<std::size_t>(of)]) - log_sum;
  };
  token.logprob = logprob(id);
  const auto count =
      std::min<std::size_t>(static_cast<std::size_t>(alternatives.value_or(0)), logits.size());
  if (count == 0) return token;
  std::vector<std::int64_t> order(logits.size());
  std::iota(order.begin(), order.end(), 0);
  const auto likelier = [&](std::int64_t a, std::int64_t b) {
    const float x = logits[static_cast<std::size_t>(a)], y = logits[static_cast<std::size_t>(b)];
    return x > y || (x == y && a < b);
  };
  std::partial_sort(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(count), order.end(),
                    likelier);
  for (std::size_t i = 0; i < count; ++i) {
    token.alternatives.emplace_back(order[i], logprob(order[i]));
  }
  return token;
}

}  // namespace mnm
