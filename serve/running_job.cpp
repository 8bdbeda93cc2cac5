#include "serve/running_job.h"

#include <algorithm>

namespace mnm {

std::vector<double> Proposal::distribution(std::int64_t vocabulary) const {
  std::vector<double> all(static_cast<std::size_t>(vocabulary));
  double sum = 0;
  for (const auto& [id, weight] : from) sum += weight;
  for (const auto& [id, weight] : from) all[static_cast<std::size_t>(id)] = weight / sum;
  return all;
}

std::int64_t common_start(std::span<const std::int64_t> a, std::span<const std::int64_t> b) {
  return std::ranges::mismatch(a, b).in1 - a.begin();
}

void CachedSequence::append(std::span<const std::int64_t> more,
                            const std::shared_ptr<const Widths>& widths) {
  tokens.insert(tokens.end(), more.begin(), more.end());
  if (runs.empty() || *runs.back().second != *widths) runs.emplace_back(0, widths);
  runs.back().first = tokens.size();
}

void CachedSequence::shorten(std::size_t length) {
  tokens.resize(std::min(length, tokens.size()));
  while (runs.size() > 1 && runs[runs.size() - 2].first >= tokens.size()) runs.pop_back();
  if (!runs.empty()) runs.back().first = tokens.size();
}

std::int64_t CachedSequence::common(std::span<const std::int64_t> prompt,
                                    const Widths& widths) const {
  if (runs.empty() || *runs.front().second != widths) return 0;
  return common_start(prompt, std::span(tokens).first(runs.front().first));
}

RunningJob::RunningJob(JobId its_id, Job its_job, CachedSequence its_cache, std::int64_t positions)
    : id(its_id),
      job(std::move(its_job)),
      widths(job.widths ? std::make_shared<const Widths>(*job.widths) : nullptr),
      cache(std::move(its_cache)),
      reserved(positions),
      taken_over(static_cast<std::int64_t>(cache.tokens.size())),
      sampler(job.sampling),
      random(job.seed) {}

std::int64_t RunningJob::prompt_left() const {
  return std::max<std::int64_t>(0, static_cast<std::int64_t>(job.prompt.size()) -
                                       static_cast<std::int64_t>(cache.tokens.size()));
}

}  // namespace mnm
